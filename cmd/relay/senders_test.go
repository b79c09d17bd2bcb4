package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/smtptest"
	"postern/outlier"
)

// TestSuspendAndRelease: what an operator does by hand holds from the next MAIL
// on, survives a kill, and is logged with the user who did it.
func TestSuspendAndRelease(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, ""))
	d := dialSMTP(t, p.address("mta"))
	mail := func(from, want string) {
		t.Helper()
		d.say("MAIL FROM:<"+from+">", want)
		d.say("RSET", "250")
	}
	mail("a@example.org", "250")
	wantText(t, p.verb(2, "suspend", "a@example.org"), "-reason is missing")
	wantText(t, p.verb(2, "release", "a@example.org"), "is neither suspended")
	wantText(t, p.verb(2, "suspend", "nobody", "--reason", "x"), `"nobody" is not a sender`)
	wantText(t, p.verb(0, "suspend", "a@example.org", "--for", "24h", "--reason", "leaked"), `sender a@example\.org is now suspended until `)
	p.expect(`msg=operator act=suspend by=\S+ .*leaked`)
	mail("a@example.org", "450 4.7.1 <a@example.org>: suspended for unusual sending, retry in 86")
	mail("c@example.org", "250")
	wantText(t, p.verb(0, "senders", "--state", "suspend"), `(?m)^a@example\.org +suspended until .* leaked$`)
	var detail outlier.Detail
	if err := json.Unmarshal([]byte(p.verb(0, "senders", "show", "a@example.org", "--json")), &detail); err != nil || detail.By == "" || detail.State != outlier.Suspended {
		t.Errorf("%v %+v", err, detail)
	}

	p.kill()
	p = startRelayIn(t, p.dir)
	d = dialSMTP(t, p.address("mta"))
	mail("a@example.org", "450 4.7.1")
	wantText(t, p.verb(0, "release", "a@example.org", "--reason", "password changed"), `is now normal`)
	mail("a@example.org", "250")

	wantText(t, p.verb(0, "suspend", "client:corporate", "--reason", "all of it"), `client corporate is now suspended until released`)
	mail("c@example.org", "450 4.7.1 this client: suspended for unusual sending, ask the operator")
	var list admin.SenderList
	if err := json.Unmarshal([]byte(p.verb(0, "senders", "--scope", "client", "--json")), &list); err != nil || len(list.Rows) != 1 || list.Rows[0].Name != "corporate" {
		t.Errorf("%v %+v", err, list)
	}
	d.conn.Close()
	p.stop()
}

// TestPostfixBurstWaitsForRelease: a burst unlike a new sender is deferred,
// stays in Postfix's queue, and goes out after the release.
func TestPostfixBurstWaitsForRelease(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, "[outlier]\nmode = \"enforce\"\n"))
	mta := startPostfix(t, p.address("mta"))
	const n = 90
	for i := range n {
		to := fmt.Sprintf("victim%d@dest%d.example", i, i%30)
		if err := mta.send("a@example.org", []string{to}, testMessage("a@example.org", fmt.Sprintf("o%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(`code=450 status=4\.7\.1 rule="outlier sender"`)
	eventually(t, "what is left waits", func() bool { return up.Taken()+mta.queued() == n })
	held := mta.queued()
	if let := up.Taken(); let > 60 || held == 0 {
		t.Errorf("%d messages were let out, %d are held", let, held)
	}
	t.Logf("%d messages were let out, %d are held", up.Taken(), held)
	shown := p.verb(0, "senders", "show", "a@example.org")
	wantText(t, shown, `state +(throttled|suspended)`)
	wantText(t, shown, `alarm .* sent \d+ recipients in `)
	eventually(t, "the rest has gone out after release", func() bool {
		if strings.Contains(p.verb(0, "senders", "--state", "throttle"), "a@example.org") {
			p.verb(0, "release", "a@example.org", "--learn", "--reason", "a newsletter")
		}
		mta.flush()
		return up.Taken() == n
	})
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	p.stop()
}
