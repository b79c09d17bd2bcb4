package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/relay/cli"
)

// TestCheckOfManyClientsGoesClientByClient: each client has by default a limit
// of its own for its null reverse-path, and the words about one client do not
// look at those of all the others. 20,000 clients took minutes.
func TestCheckOfManyClientsGoesClientByClient(t *testing.T) {
	var b strings.Builder
	b.WriteString("hostname = \"relay.example.org\"\n[listener.in]\naddress = \"127.0.0.1:2525\"\n[stream.s]\nupstream = \"u\"\n[upstream.u]\nhosts = [\"127.0.0.2:25\"]\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "[client.c%06d]\nnetworks = [\"10.%d.%d.0/24\"]\nsenders = [\"@d%06d.example\"]\nstream = \"s\"\n", i, i>>8, i&255, i)
	}
	path := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	status, out, errs := runVerb("", "check", "-config", path)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	if status != cli.OK || strings.Count(out, "null_sender:") != 20_000 {
		t.Errorf("status %d, %d limits of clients, errors %.300s", status, strings.Count(out, "null_sender:"), errs)
	}
	if took := time.Duration(after.Utime.Nano() - before.Utime.Nano()); took > 15*time.Second {
		t.Errorf("took %v of processor time", took)
	}
}
