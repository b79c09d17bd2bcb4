package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestPostfixHearsAtDATAWhatTheRecordsTellOfRCPT: Postfix pipelines DATA behind
// its recipients. Log, journal, metrics and the commands name the refusals of
// the recipients all the same.
func TestPostfixHearsAtDATAWhatTheRecordsTellOfRCPT(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	up := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "no@dest.example", Reply: "550 5.1.1 no such user here"}}})
	p := startRelay(t, basic(up, `
[admin]
address = "`+admin+`"
[limit.sender]
per = "sender"
messages = ["1/1h"]
`))
	mta := startPostfix(t, p.address("mta"))
	send := func(from string, to ...string) {
		t.Helper()
		if err := mta.send(from, to, testMessage(from, "d")); err != nil {
			t.Fatal(err)
		}
	}
	send("a@example.org", "b@dest.example")
	upstreamMessages(t, up, 1)
	send("a@example.org", "b@dest.example", "c@dest.example")
	id := p.expect(`msg=transaction id=(\S+) .* to_count=2 .*stage=rcpt outcome=deferred code=450 status=4\.7\.1 rule="limit sender" .*` +
		`reply="450 4\.7\.1 <a@example\.org>: sender limit of 1 message in 1h reached, retry in \d+ seconds" ms=\d+ refused="2 by limit sender 450 4\.7\.1"`)[1]
	send("z@example.org", "no@dest.example")
	unknown := p.expect(`msg=transaction id=(\S+) .*stage=rcpt outcome=rejected code=550 status=5\.1\.1 rule=upstream .*reply="550 5\.1\.1 no such user here" ms=\d+ class=no-such-user refused="1 by upstream/no-such-user 550 5\.1\.1"`)[1]
	if n := p.count(`no valid recipients|no recipient can be taken`); n > 0 {
		t.Errorf("%d lines tell of what DATA said", n)
	}

	client := http.Client{Timeout: patience}
	eventually(t, "the metrics tell the same", func() bool {
		r, err := client.Get("http://" + admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		metrics, err := io.ReadAll(r.Body)
		all := err == nil
		for _, want := range []string{
			`relay_refusals_total{code="450",rule="limit"} `, `relay_refusals_total{code="550",rule="upstream"} 1`,
			`relay_upstream_refusals_total{class="no-such-user",upstream="up"} 1`,
			`relay_transactions_total{client="corporate",outcome="deferred",stage="rcpt",stream="main"} `,
		} {
			all = all && strings.Contains(string(metrics), want)
		}
		return all
	})

	p.stop()
	wantText(t, p.verb(0, "explain", id), `(?s)to +<b@dest.example> deferred with 450 4.7.1 by limit sender.*end +deferred with 450 4.7.1 by limit sender: 450 4.7.1 <a@example.org>: sender limit of 1 message in.*refused +2 by limit sender 450 4.7.1`)
	wantText(t, p.verb(0, "explain", unknown), `end +rejected with 550 5.1.1 by upstream: 550 5.1.1 no such user here, class no-such-user at stage rcpt`)
	wantText(t, p.verb(0, "replies", "top", "-by", "class,destination"), `1 +no-such-user +dest.example +.*no such user here`)
}
