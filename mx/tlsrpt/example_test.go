package tlsrpt_test

import (
	"fmt"

	"postern/mx/tlsrpt"
)

// Without the socket of a collector, sessions are counted and reported to nobody.
func Example() {
	reporter := tlsrpt.New(tlsrpt.Options{})
	defer reporter.Close()
	policy := tlsrpt.Policy{Kind: tlsrpt.STS, Domain: "dest.example"}
	for _, result := range []tlsrpt.Result{tlsrpt.Success, tlsrpt.Success, tlsrpt.Expired} {
		reporter.Note(tlsrpt.Session{Domain: "dest.example", Policy: policy, Result: result, Host: "mx.dest.example"})
	}
	for _, c := range reporter.Counts() {
		fmt.Println(c.Policy, c.Result, c.Sessions)
	}
	// Output:
	// sts certificate-expired 1
	// sts success 2
}
