package relay

import (
	"strings"
	"testing"
	"time"
)

// awaitHeads waits until the headers in flight take what is asked for.
func awaitHeads(t *testing.T, r *rig, want func(int64) bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !want(r.server.spool.heads.Load()); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("headers take %d octets", r.server.spool.heads.Load())
		}
	}
}

// TestStalledHeadersAreInMemoryTotal: many large headers that never end take a
// bounded part of the memory, and are not in the way of ordinary mail.
func TestStalledHeadersAreInMemoryTotal(t *testing.T) {
	r := newRig(t)
	r.message.MemoryTotal = 8 << 20
	r.start()
	stalled := "From: a@example.org\r\n" + strings.Repeat("X-A: "+strings.Repeat("x", 990)+"\r\n", 240)
	var all []*peer
	for range 40 {
		p := r.dial()
		p.open("b@dest.example")
		p.send(stalled)
		all = append(all, p)
	}
	most := int64(leastHeads + len(all)*ordinaryHead)
	awaitHeads(t, r, func(n int64) bool { return n > leastHeads/2 })
	for range 20 {
		if n := r.server.spool.heads.Load(); n > most {
			t.Fatalf("headers take %d octets", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	p := r.dial()
	p.open("b@dest.example")
	p.send(plainMail)
	p.want("250")
	refused := 0
	for _, p := range all {
		p.send("\r\n.\r\n")
		if strings.HasPrefix(p.reply(), "452 4.3.1") {
			refused++
		}
	}
	if refused == 0 || refused == len(all) {
		t.Errorf("%d of %d were refused", refused, len(all))
	}
	awaitHeads(t, r, func(n int64) bool { return n == 0 })
}

// TestHeaderFieldsAreInMemoryTotal: fields take more room than their octets.
func TestHeaderFieldsAreInMemoryTotal(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.open("b@dest.example")
	p.send("From: a@example.org\r\n" + strings.Repeat("X:\r\n", 1500) + "\r\nbody\r\n")
	awaitHeads(t, r, func(n int64) bool { return n >= 60_000 }) // 40 a field
	p.conn.Close()
	awaitHeads(t, r, func(n int64) bool { return n == 0 })
}
