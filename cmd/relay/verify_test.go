package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

var quotedStrings = regexp.MustCompile(`"([^"]*)"`)

// joinTXT is the value of a TXT record in zone-file form.
func joinTXT(s string) string {
	var b strings.Builder
	for _, m := range quotedStrings.FindAllStringSubmatch(s, -1) {
		b.WriteString(m[1])
	}
	return b.String()
}

// verifyDKIM checks every signature of a message with go-msgauth and with
// python3-dkim. records are the TXT values by selector.
func verifyDKIM(t *testing.T, message []byte, records map[string]string) {
	t.Helper()
	verifyMsgauth(t, message, records)
	need(t, debianPython, "python3-dkim")
	zone, _ := json.Marshal(records)
	cmd := exec.Command(debianPython, "-c", verifyScript, string(zone))
	cmd.Stdin = bytes.NewReader(message)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("python3-dkim, which make test installs: %v\n%s", err, out)
	}
}

// verifyMsgauth checks every signature of a message with go-msgauth.
func verifyMsgauth(t *testing.T, message []byte, records map[string]string) {
	t.Helper()
	lookup := func(name string) ([]string, error) {
		selector, _, _ := strings.Cut(name, ".")
		if v, ok := records[selector]; ok {
			return []string{v}, nil
		}
		return nil, fmt.Errorf("no record %s", name)
	}
	results, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{LookupTXT: lookup})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	if len(results) != len(records) {
		t.Errorf("message has %d signatures, want %d", len(results), len(records))
	}
	for _, r := range results {
		if r.Err != nil {
			t.Errorf("go-msgauth: signature of %s: %v", r.Domain, r.Err)
		}
	}
}

// debianPython is the one that Debian's packages are for: another may stand first
// in the path.
const debianPython = "/usr/bin/python3"

const verifyScript = `
import dkim, json, sys
zone = json.loads(sys.argv[1])
def txt(name, timeout=5):
    v = zone.get(name.decode().split(".")[0])
    return v.encode() if v else None
d = dkim.DKIM(sys.stdin.buffer.read())
for i in range(len(zone)):
    if not d.verify(idx=i, dnsfunc=txt):
        sys.exit("signature %d is bad" % i)
`
