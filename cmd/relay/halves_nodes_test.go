package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"postern/internal/redistest"
	"postern/internal/smtptest"
)

// TestAnotherNodeLeavesOutWhoHasIt: a message that one domain took and another deferred at
// one node comes again at another, which shares Redis under the ACL of docs/redis.md.
// While Redis is away a transaction has one domain, and metrics tell what could not be
// asked.
func TestAnotherNodeLeavesOutWhoHasIt(t *testing.T) {
	w := newReceivers(t)
	good := w.add("good.example", "127.0.0.2")
	grey := w.add("grey.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Dot, Times: 1, Reply: "451 4.7.1 later"})
	redis := redistest.Start(t, allowed(t))
	admin := freeAddress(t)
	more := fmt.Sprintf("[redis]\naddresses = [%q]\nusername = \"relay\"\npassword = \"relaypass\"\n", redis.Addr)
	first := startRelay(t, w.config(more))
	second := startRelay(t, w.config(more+fmt.Sprintf("[admin]\naddress = %q\n", admin)))
	send := func(p *process, id string, verdicts ...string) {
		t.Helper()
		d := dialSMTP(t, p.address("mta"))
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<a@good.example>", verdicts[0])
		d.say("RCPT TO:<c@grey.example>", verdicts[1])
		d.say("DATA", "354")
		d.say("From: a@example.org\r\nMessage-ID: <"+id+"@example.org>\r\n\r\nx\r\n.", verdicts[2])
		d.say("QUIT", "221")
	}
	send(first, "1", "250", "250", "451 4.5.3 taken for 1 of 2 recipients")
	send(second, "1", "250 2.1.5 recipient ok, a message for it was taken before", "250", "250")
	if good.Taken() != 1 || grey.Taken() != 1 {
		t.Errorf("taken: %d %d", good.Taken(), grey.Taken())
	}
	redis.Kill()
	send(second, "2", "250", "452 4.5.3 too many recipient domains", "250")
	eventually(t, "metrics tell of it", func() bool {
		text := scrape(t, admin)
		return strings.Contains(text, "relay_possible_copies_total{cause=\"unasked\"} 1\n") && strings.Contains(text, "relay_halves_total{what=\"left_out\"} 1\n")
	})
	if good.Taken() != 2 || grey.Taken() != 1 {
		t.Errorf("taken: %d %d", good.Taken(), grey.Taken())
	}
}

// scrape is the text of the metrics.
func scrape(t *testing.T, admin string) string {
	t.Helper()
	r, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	return string(body)
}
