package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestRetriesOfHalvesAreToldAlike: the second of three tries reaches nobody new. Log,
// metrics, relay find and relay incident say of each what the client heard, and of each
// recipient once that the message left.
func TestRetriesOfHalvesAreToldAlike(t *testing.T) {
	t.Parallel()
	world := newReceivers(t)
	world.add("good.example", "127.0.0.2")
	world.add("grey.example", "127.0.0.3", smtptest.Fault{Stage: smtptest.Dot, Times: 2, Reply: "451 4.7.1 greylisted"})
	text, admin := withAdmin(t, world.config(""))
	p := startRelay(t, text)
	d := dialSMTP(t, p.address("mta"))
	for _, reply := range []string{"451 4.5.3 taken for 1 of 2", "451 4.5.3 taken for 1 of 2", "250"} {
		d.say("MAIL FROM:<a@example.org>", "250")
		d.say("RCPT TO:<b@good.example>", "250")
		d.say("RCPT TO:<c@grey.example>", "250")
		d.say("DATA", "354")
		d.say("Message-ID: <h@example.org>\r\n"+testMessage("a@example.org", "h")+".", reply)
	}
	p.expect(`msg=transaction .*outcome=relayed code=451 .*rule=halves`)
	p.expect(`msg=transaction .*outcome=deferred code=451 .*rule=halves`)
	p.expect(`msg=transaction .*outcome=relayed code=250 .*rule=upstream`)
	eventually(t, "the metrics tell the same", func() bool {
		r, err := http.Get("http://" + admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		all := err == nil
		for _, want := range []string{
			`relay_recipients_total{client="corporate",outcome="relayed",stream="main"} 2` + "\n",
			`relay_recipients_total{client="corporate",outcome="deferred",stream="main"} 2` + "\n",
			`relay_transactions_total{client="corporate",outcome="relayed",stage="forward",stream="main"} 2` + "\n",
			`relay_transactions_total{client="corporate",outcome="deferred",stage="forward",stream="main"} 1` + "\n",
			`relay_halves_total{what="left_out"} 2` + "\n",
		} {
			all = all && strings.Contains(string(b), want)
		}
		return all
	})
	d.say("QUIT", "221")
	p.stop()
	found := p.verb(0, "find", "-message-id", "h@example.org")
	if strings.Count(found, "relayed") != 2 || strings.Count(found, "deferred 451 4.5.3 halves") != 1 {
		t.Errorf("relay find:\n%s", found)
	}
	wantText(t, p.verb(0, "incident", "a@example.org", "-since", "1h"), `2 messages left from .* to 2 recipients; 0 recipients refused, 2 tries deferred`)
}
