package control

import (
	"bytes"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

// TestFlagsThatNothingHeedsAreRefused, in words, and before anything is done.
func TestFlagsThatNothingHeedsAreRefused(t *testing.T) {
	for _, c := range []struct {
		run  func(cli.IO, []string) int
		args string
		want string
	}{
		{Audit, "verify -server https://relay.example.org:8025", "leave -server out"},
		{Audit, "verify -socket state/control.sock", "leave -socket out"},
		{Listings, "suspects -server https://relay.example.org:8025 -token-file x", "leave -server out"},
		{Listings, "suspects -ca x", "leave -ca out"},
		{Limits, "top -n -1", "is negative"},
		{Limits, "show -n -5", "is negative"},
		{Senders, "-n -1", "is negative"},
	} {
		var out, text bytes.Buffer
		status := c.run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &text}, strings.Fields(c.args))
		if status != cli.Usage || !strings.Contains(text.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: %d %q", c.args, status, text.String())
		}
	}
}
