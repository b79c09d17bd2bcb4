package relay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/scan"
)

// clamd is a scripted scanner: it finds its canary, and what holds EICAR.
func clamd(t *testing.T, message func(c net.Conn, m []byte)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { defer c.Close(); answerClamd(c, message) })
		}
	})
	return "tcp:" + l.Addr().String()
}

func answerClamd(c net.Conn, message func(c net.Conn, m []byte)) {
	r := bufio.NewReader(c)
	if command, err := r.ReadString(0); err != nil || command == "zVERSION\x00" {
		io.WriteString(c, "ClamAV 1.4.6/27000/Mon Nov 30 08:00:00 2026\x00")
		return
	}
	var all []byte
	for {
		var n uint32
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			return
		}
		if n == 0 {
			break
		}
		part := make([]byte, n)
		io.ReadFull(r, part)
		all = append(all, part...)
	}
	if bytes.Contains(all, []byte("X-Postern-Canary")) {
		io.WriteString(c, "stream: Eicar FOUND\x00")
		return
	}
	message(c, all)
}

// scanned sends one message through a rig with a scanner and returns the last
// reply, the event, and what the upstream got.
func scanned(t *testing.T, change func(*scan.Config), message func(c net.Conn, m []byte)) (reply string, ev mail.Event, sent int) {
	t.Helper()
	var c scan.Config
	c.SetDefaults()
	c.Clamd, c.Timeout = clamd(t, message), 300*time.Millisecond
	change(&c)
	set, err := scan.New(scan.Options{Configs: map[string]scan.Config{"av": c}})
	if err != nil {
		t.Fatal(err)
	}
	set.Start(time.Second)
	t.Cleanup(func() { set.Stop(nil) })
	r := newRig(t)
	delete(r.clients, "shop")
	r.start()
	next := *r.server.snapshot()
	next.Scanners = set
	r.server.Reload(&next)
	p := r.dial()
	p.say("EHLO c.example", "250")
	if reply = p.say("MAIL FROM:<a@example.org>", ""); strings.HasPrefix(reply, "250") {
		p.say("RCPT TO:<b@dest.example>", "250")
		p.say("DATA", "354")
		reply = p.say("From: a@example.org\r\nBcc: c@dest.example\r\n\r\nbody of the message\r\n.", "")
	}
	return strings.TrimSpace(reply), *r.events.wait(t, 0), len(r.up.Messages())
}

func says(answer string) func(net.Conn, []byte) {
	return func(c net.Conn, _ []byte) { io.WriteString(c, answer+"\x00") }
}

func TestScannersDecideWhatLeaves(t *testing.T) {
	hang := func(c net.Conn, _ []byte) { c.Read(make([]byte, 1)) }
	none := func(*scan.Config) {}
	for _, c := range []struct {
		name    string
		change  func(*scan.Config)
		message func(net.Conn, []byte)
		reply   string
		stage   string
		verdict string // of the event, with "unscanned" where it went on
		sent    int
	}{
		{"clean", none, says("stream: OK"), "250", "forward", "clean", 1},
		{"virus", none, says("stream: Own.Eicar FOUND"), "550 5.7.1 message refused by av: Own.Eicar", "scan", "virus", 0},
		{"virus in shadow", func(k *scan.Config) { k.Mode = scan.Shadow }, says("stream: Own.Eicar FOUND"), "250", "forward", "", 1},
		{"encrypted passes", none, says("stream: Heuristics.Encrypted.Zip FOUND"), "250", "forward", "encrypted", 1},
		{"unscannable", none, says("stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND"), "550 5.7.1 message cannot be scanned", "scan", "unscannable", 0},
		{"no verdict", none, hang, "451 4.7.1 message cannot be scanned now, try again later", "scan", "fault", 0},
		{"nonsense", none, says("stream: FINE"), "451 4.7.1 message cannot be scanned now, try again later", "scan", "fault", 0},
		{"no verdict, passes", func(k *scan.Config) { k.OnFailure = scan.Pass }, hang, "250", "forward", "fault unscanned", 1},
		{"too large", func(k *scan.Config) { k.MaxSize, k.TooLarge = 10, scan.Refuse }, hang, "552 5.3.4 message is too large to be scanned", "scan", "too_large", 0},
		{"too large passes", func(k *scan.Config) { k.MaxSize = 10 }, hang, "250", "forward", "too_large unscanned", 1},
		{"down", func(k *scan.Config) { k.Clamd = "tcp:127.0.0.1:1" }, hang, "451 4.7.1 message cannot be scanned now, try again later", "mail", "", 0},
		{"down, passes", func(k *scan.Config) { k.Clamd, k.OnFailure = "tcp:127.0.0.1:1", scan.Pass }, hang, "250", "forward", "fault unscanned", 1},
		{"of other clients", func(k *scan.Config) { k.Clients = []string{"other"} }, hang, "250", "forward", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply, ev, sent := scanned(t, c.change, c.message)
			var verdict string
			if len(ev.Scans) > 0 && !ev.Scans[0].Shadow {
				verdict = ev.Scans[0].Verdict
				if ev.Scans[0].Unscanned {
					verdict += " unscanned"
				}
			}
			if harm := c.verdict == "virus"; ev.Harmful() != harm {
				t.Errorf("harmful %v, want %v: %+v", !harm, harm, ev)
			}
			if !strings.HasPrefix(reply, c.reply) || ev.Stage != c.stage || verdict != c.verdict || sent != c.sent {
				t.Errorf("%q at stage %s, verdict %q, %d sent; want %q, %s, %q, %d (%s)", reply, ev.Stage, verdict, sent, c.reply, c.stage, c.verdict, c.sent, ev.Err)
			}
		})
	}
}

// Scanners see the header as it leaves, without trace and signature.
func TestScannersSeeWhatLeaves(t *testing.T) {
	seen := make(chan string, 1)
	scanned(t, func(*scan.Config) {}, func(c net.Conn, m []byte) {
		seen <- string(m)
		io.WriteString(c, "stream: OK\x00")
	})
	if got, want := <-seen, "From: a@example.org\r\n\r\nbody of the message\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
