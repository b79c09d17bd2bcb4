package sts_test

import (
	"fmt"

	"postern/mx/sts"
)

// A domain that enforces its policy takes mail at the hosts that the policy names,
// over verified TLS, and nowhere else.
func ExampleParse() {
	p, err := sts.Parse([]byte("version: STSv1\nmode: enforce\nmx: mx1.example.org\nmx: *.mail.example.net\nmax_age: 604800\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range []string{"mx1.example.org", "in.mail.example.net", "a.in.mail.example.net", "mx.evil.example"} {
		fmt.Println(p.Mode, host, p.Matches(host))
	}
	// Output:
	// enforce mx1.example.org true
	// enforce in.mail.example.net true
	// enforce a.in.mail.example.net false
	// enforce mx.evil.example false
}
