package control

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/plain"
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

// TestColumnsStayInLine, whatever characters a name has that are written out.
func TestColumnsStayInLine(t *testing.T) {
	var out bytes.Buffer
	v := Verb{io: cli.IO{Out: plain.NewWriter(&out)}}
	v.Print(nil, func(w io.Writer) {
		fmt.Fprintf(w, "KEY\tUSED\na\u200bb\tx\nplain\tx\n\x1b[2J\u202e\tx\n")
	})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[1:] {
		if strings.LastIndexByte(line, 'x') != strings.Index(lines[0], "USED") {
			t.Fatalf("columns are out of line:\n%s", &out)
		}
	}
}
