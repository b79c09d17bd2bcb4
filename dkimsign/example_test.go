package dkimsign_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/dkimsign"
)

// A body passes a BodyHash while it arrives; the header is signed at its end.
func Example() {
	folder, err := os.MkdirTemp("", "dkim")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	key, err := dkimsign.NewKey(dkimsign.RSA, 2048)
	if err != nil {
		fmt.Println(err)
		return
	}
	file := filepath.Join(folder, "s1.pem")
	if err := dkimsign.WriteKey(file, key); err != nil {
		fmt.Println(err)
		return
	}
	signers, err := dkimsign.Load(map[string]dkimsign.DomainConfig{
		"example.org": {Keys: []dkimsign.KeyConfig{{Selector: "s1", File: file}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	body := dkimsign.NewBodyHash()
	fmt.Fprint(body, "Hello.\r\n")
	header := "From: news@shop.example.org\r\nSubject: hello\r\n"
	field, keys, err := signers.For("shop.example.org").Sign([]byte(header), body, time.Now())
	fmt.Println(strings.HasPrefix(string(field), "DKIM-Signature: v=1; a=rsa-sha256;"), keys, err)

	name, value := dkimsign.Record("example.org", "s1", key)
	fmt.Println(name, strings.HasPrefix(value, "v=DKIM1; k=rsa; p="))
	// Output:
	// true [example.org/s1] <nil>
	// s1._domainkey.example.org true
}
