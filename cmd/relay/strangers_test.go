package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// knock connects from an address that is not a client's and reads the refusal.
func knock(t *testing.T, address string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if reply, _ := readReply(bufio.NewReader(conn)); !strings.HasPrefix(reply, "554 5.7.1 [127.0.0.2]") {
		t.Fatalf("greeting %q", reply)
	}
}

// refusedConnections is that number in the metrics.
func refusedConnections(t *testing.T, admin string) (n int) {
	t.Helper()
	r, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	_, rest, _ := strings.Cut(string(body), `relay_transactions_total{client="",outcome="rejected",stage="connect",stream=""} `)
	fmt.Sscan(rest, &n)
	return n
}

// TestStrangersDoNotTurnTheJournalOver: what a stranger does many times is a few
// lines of the log and of a file of its own, an exact number in the metrics, and
// none of the journal.
func TestStrangersDoNotTurnTheJournalOver(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	admin := freeAddress(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(up, fmt.Sprintf("[admin]\naddress = %q\n", admin)))
	p := startRelayIn(t, dir)
	address := p.address("mta")
	conn, in, err := openSession(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if reply, err := submit(in, conn, "a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", "m1")); err != nil || !strings.HasPrefix(reply, "250") {
		t.Fatalf("%q, %v", reply, err)
	}
	p.expect(`msg=transaction .*outcome=relayed`)
	eventually(t, "the self-test, which comes from such an address, ends", func() bool {
		knock(t, address)
		return refusedConnections(t, admin) > 0
	})
	before := refusedConnections(t, admin)
	const n = 400
	for range n {
		knock(t, address)
	}
	if got := refusedConnections(t, admin) - before; got != n {
		t.Errorf("the metrics count %d refused connections, want %d", got, n)
	}
	p.stop()
	if lines := p.count(`msg=transaction .*client_ip=127\.0\.0\.2`); lines < 2 || lines > n/4 {
		t.Errorf("%d lines of the log", lines)
	}
	if lines := bytes.Count(readFile(t, filepath.Join(dir, "journal.jsonl")), []byte("\n")); lines != 1 {
		t.Errorf("the journal has %d lines, want that of the message", lines)
	}
	strangers := filepath.Join(dir, "strangers.jsonl")
	var out bytes.Buffer
	told := readFile(t, strangers)
	if lines := bytes.Count(told, []byte("\n")); lines < 2 || lines > n/4 || !bytes.Contains(told, []byte(`"times":`)) {
		t.Errorf("%d lines of strangers:\n%s", lines, told)
	}
	if info, err := os.Stat(strangers); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	id := string(told[bytes.Index(told, []byte(`"id":"`))+6:][:18])
	if status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &out}, []string{"explain", "-config", filepath.Join(dir, "relay.toml"), id}); status != cli.OK || !strings.Contains(out.String(), "none from [127.0.0.2]") {
		t.Errorf("explain %s: status %d: %s", id, status, out.String())
	}
}
