package main

import (
	"bytes"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

func TestVersionSaysWhoSigns(t *testing.T) {
	var out bytes.Buffer
	if code := run(cli.IO{Out: &out, Err: &out}, []string{"version"}); code != cli.OK {
		t.Fatalf("exit code %d", code)
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], "postern ") || !strings.HasPrefix(lines[1], "RSA signatures by OpenSSL 3.") && !strings.HasPrefix(lines[1], "RSA signatures by Go, as ") {
		t.Errorf("printed %q", out.String())
	}
}
