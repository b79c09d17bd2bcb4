package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestServeOutlivesTheReaderOfItsLog: relay serve 2>&1 | head -1.
func TestServeOutlivesTheReaderOfItsLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	text := "hostname = \"relay.example.org\"\nstate_dir = \"s\"\n[listener.in]\naddress = \"127.0.0.1:0\"\n" +
		"[stream.s]\nupstream = \"u\"\n[upstream.u]\ncapture = \"out\"\n[journal]\nfile = \"s/journal.jsonl\"\n" +
		"[client.c]\nnetworks = [\"127.0.0.0/8\"]\nsenders = [\"@example.org\"]\nstream = \"s\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "serve", "-config", path)
	cmd.Env = append(os.Environ(), runAsRelay+"=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	in := bufio.NewScanner(r)
	for in.Scan() && !strings.Contains(in.Text(), "listening") {
	}
	r.Close()
	// Both write lines that nobody reads.
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the relay ended by %v", err)
	}
}
