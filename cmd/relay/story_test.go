package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/reputation"
)

// TestLeakedPasswordFromListingToEnd is the whole story: a Postfix whose
// password has leaked sends a burst, a receiver says that we are listed, the
// report names the user, an operator suspends the sender and releases it, and the
// listing ends when mail is taken again. The word of one receiver suspends nobody
// by itself.
func TestLeakedPasswordFromListingToEnd(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	text := strings.Replace(basic(up, fmt.Sprintf(`
[user.shop]
password = %q
[client.shop]
users = ["shop"]
senders = ["orders@shop.example"]
stream = "shop"
null_sender = "reject" # what Postfix writes about refused mail is no part of this
[stream.shop]
upstream = "up"
public_ips = ["192.0.2.25"]
on_listing = "suspend_suspect"
[outlier]
mode = "shadow"
`, strings.TrimSpace(hash))), `networks = ["127.0.0.1/32"]`, `networks = ["127.0.0.9/32"]`, 1)
	p := startRelay(t, text)
	_, port, _ := strings.Cut(p.address("mta"), ":")
	mta := startPostfix(t, p.address("mta"), "smtp_sasl_auth_enable = yes", "smtp_sasl_security_options =",
		"smtp_sasl_password_maps = inline:{ { [127.0.0.1]:"+port+" = shop:secret } }")
	n := 0
	send := func(to string) {
		t.Helper()
		n++
		if err := mta.send("orders@shop.example", []string{to}, testMessage("orders@shop.example", fmt.Sprintf("s%d", n))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		send(fmt.Sprintf("stranger%d@dest%d.example", i, i%5))
	}
	upstreamMessages(t, up, 60)

	// Only these two: Postfix's own report to the sender is not part of the story.
	const reply = "550 5.7.1 Service unavailable; client [192.0.2.25] blocked using bl.example; see https://bl.example/lookup?192.0.2.25"
	up.SetFaults(smtptest.Fault{Stage: smtptest.Rcpt, To: "a@dest0.example", Reply: reply}, smtptest.Fault{Stage: smtptest.Rcpt, To: "b@dest0.example", Reply: reply})
	send("a@dest0.example")
	send("b@dest0.example")
	p.expect(`msg=reputation event=listed status=fail subject=192\.0\.2\.25 `)
	p.expect(`msg=reputation event=suspect status=fail subject="sender orders@shop\.example"`)
	p.verb(0, "suspend", "orders@shop.example", "-reason", "listing 1")
	send("c@dest0.example")
	send("d@dest0.example")
	p.expect(`code=450 status=4\.7\.1 rule="outlier sender"`)

	wantText(t, p.verb(0, "listings"), `(?m)^1 +192\.0\.2\.25 .* listed +.*sender orders@shop\.example +shop$`)
	shown := p.verb(0, "listings", "show", "1")
	wantText(t, shown, `change the password of user shop`)
	wantText(t, shown, `https://bl\.example/lookup\?192\.0\.2\.25`)
	wantText(t, shown, `suspend user:shop -reason 'listing 1'`)
	if strings.Contains(shown, "done:") {
		t.Errorf("one receiver alone had something done: %s", shown)
	}
	var l reputation.Listing
	if err := json.Unmarshal([]byte(p.verb(0, "listings", "show", "1", "--json")), &l); err != nil {
		t.Fatal(err)
	}
	if s := l.Suspects[0]; s.User != "shop" || s.Client != "shop" || s.Recipients < 60 || s.Strangers < 60 || len(s.Transactions) == 0 {
		t.Errorf("first suspect %+v", s)
	}
	up.SetFaults()
	wantText(t, p.verb(0, "release", "orders@shop.example", "--reason", "password changed"), `is now `)
	eventually(t, "what waited has gone out", func() bool {
		mta.flush()
		return mta.queued() == 0
	})
	p.expect(`msg=reputation event=delisted status=pass subject=192\.0\.2\.25 `)
	wantText(t, p.verb(0, "listings"), `(?m)^1 .* ended `)
	p.stop()
	wantText(t, p.verb(0, "replies", "top", "-by", "class,list"), `(?m)^2 +listed-ip +bl\.example`)
	wantText(t, p.verb(0, "listings", "suspects", "-stream", "shop"), `(?m)^  1\. sender orders@shop\.example, user shop, client shop`)
	if status, out, errs := runVerb("", "explain", "-config", p.dir+"/relay.toml", l.Suspects[0].Transactions[0]); status != 0 || !strings.Contains(out, "orders@shop.example") {
		t.Errorf("explain a sample: status %d, %s%s", status, out, errs)
	}
}
