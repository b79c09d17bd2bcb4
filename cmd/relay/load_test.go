package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// TestGoodSlowAndHostileClientsAtOnce: 50 clients that dawdle in the middle of a
// message and 50 that send whatever an attacker would keep nobody of 500 others
// from sending, and none of their octets reach the upstream.
func TestGoodSlowAndHostileClientsAtOnce(t *testing.T) {
	const good, slow, hostile, each = 500, 50, 50, 3
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, strings.NewReplacer("max_connections_per_ip = 500", "max_connections = 2000\nmax_connections_per_ip = 2000",
		"[upstream.up]", "[upstream.up]\nwait_timeout = \"2m\"").Replace(basic(up, ""))) // however long its turn takes on a slow machine
	address := p.address("mta")
	stop := make(chan struct{})
	var bad, all sync.WaitGroup
	for range slow {
		bad.Go(func() { dawdle(address, stop) })
	}
	for i := range hostile {
		bad.Go(func() { attack(address, uint64(i), stop) })
	}
	var mu sync.Mutex
	accepted := map[string]bool{}
	for i := range good {
		all.Go(func() {
			conn, in, err := openSession(address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for n := range each {
				mark := fmt.Sprintf("g%d-%d", i, n)
				r, err := submit(in, conn, "a@example.org", []string{"b@dest.example"}, testMessage("a@example.org", mark))
				if err != nil || !strings.HasPrefix(r, "250") {
					t.Errorf("message %s: %q, %v", mark, r, err)
					return
				}
				mu.Lock()
				accepted[mark] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	close(stop)
	bad.Wait()
	if len(accepted) != good*each {
		t.Errorf("%d messages were accepted, want %d", len(accepted), good*each)
	}
	checkOnce(t, up, accepted)
	p.stop()
}

// dawdle begins messages and never ends them.
func dawdle(address string, stop <-chan struct{}) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "EHLO slow\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nFrom: a@example.org\r\nX-Mark: slow\r\n\r\n")
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
			if _, err := conn.Write([]byte{'x'}); err != nil {
				return
			}
		}
	}
}

// attack connects again and again with what must never become mail.
func attack(address string, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 7))
	tries := []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"EHLO x\r\nMAIL FROM:<ceo@evil.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nX-Mark: evil\r\n\r\nx\r\n.\r\n",
		"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nFrom: ceo@evil.example\r\nX-Mark: evil\r\n\r\nx\r\n.\r\n",
		"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nFrom: a@example.org\r\n\r\nx\n.\nMAIL FROM:<ceo@example.org>\r\n",
		"EHLO x\r\nAUTH PLAIN AHNob3AAd3Jvbmc=\r\nAUTH LOGIN\r\n",
		"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nBDAT 99999999 LAST\r\nshort",
		strings.Repeat("A", 5000) + "\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		conn.Write([]byte(tries[r.IntN(len(tries))]))
		conn.Read(make([]byte, 512))
		conn.Close()
	}
}
