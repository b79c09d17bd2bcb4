package bygroup

import (
	"fmt"
	"testing"
	"time"
)

// desk is a memory with a clock of its own; its stream "lone" has one client.
type desk struct {
	*Memory
	at time.Time
}

func newDesk() *desk {
	d := &desk{at: time.Unix(1_800_000_000, 0)}
	d.Memory = New(func() time.Time { return d.at })
	d.UseClients(func(stream string) int {
		if stream == "lone" {
			return 1
		}
		return 2
	})
	return d
}

func (d *desk) says(at, client, domain string, named time.Duration) {
	d.Refused(&Refusal{Stream: "main", Client: client, Group: "google", Domain: domain, At: at, Named: named, Reply: "421 4.7.28 too fast"})
}

// left is how long mail of a client waits, without a trial.
func (d *desk) left(stream, client, group string) time.Duration {
	t, _ := d.Left(stream, client, group)
	return t
}

// TestWhatIsSaidBeforeARecipientConcernsTheGroup, and no other stream or group.
func TestWhatIsSaidBeforeARecipientConcernsTheGroup(t *testing.T) {
	for _, at := range []string{"connect", "ehlo", "auth", "mail"} {
		d := newDesk()
		d.says(at, "shop", "a.example", 0)
		if d.left("main", "shop", "google") != time.Minute || d.left("main", "corporate", "google") != time.Minute || !d.Waits("main") {
			t.Errorf("%s: the stream's mail does not wait", at)
		}
		if d.left("other", "shop", "google") != 0 || d.left("main", "shop", "yahoo") != 0 || d.left("main", "shop", "other") != 0 || d.Waits("other") {
			t.Errorf("%s: somebody else waits", at)
		}
	}
}

// TestOwnerOfADomainStopsNobodyElse: what is said to RCPT or to the message is a domain's
// word, however often, by however many names below it, and to however many clients.
func TestOwnerOfADomainStopsNobodyElse(t *testing.T) {
	for _, row := range []struct {
		name    string
		clients []string
		domains []string
		stream  string
		waits   bool
	}{
		{"one domain, again and again", []string{"shop", "corporate"}, []string{"evil.example", "evil.example", "evil.example", "evil.example"}, "main", false},
		{"many names of one owner", []string{"shop", "corporate"}, []string{"a.evil.example", "b.evil.example", "c.evil.example", "d.e.evil.example"}, "main", false},
		{"two domains", []string{"shop", "corporate"}, []string{"a.example", "b.example"}, "main", false},
		{"three domains, mail of one tenant", []string{"shop"}, []string{"a.example", "b.example", "c.example", "d.example"}, "main", false},
		{"three domains, mail of two", []string{"shop", "corporate"}, []string{"a.example", "b.example", "c.example"}, "main", true},
		{"three domains, a stream with one client", []string{"shop"}, []string{"a.example", "b.example", "c.example"}, "lone", true},
		{"two domains, a stream with one client", []string{"shop"}, []string{"a.example", "b.example", "b.example"}, "lone", false},
	} {
		for _, at := range []string{"rcpt", "dot"} {
			d := newDesk()
			for i := range 200 {
				d.Refused(&Refusal{Stream: row.stream, Client: row.clients[i%len(row.clients)], Group: "google", Domain: row.domains[i%len(row.domains)], At: at, Named: 24 * time.Hour})
			}
			if got := d.left(row.stream, "third", "google") > 0; got != row.waits || d.Waits(row.stream) != row.waits {
				t.Errorf("%s at %s: waits %v", row.name, at, got)
			}
		}
	}
}

// TestWordsOfDomainsGrowOld: three within an hour, none of which has taken mail since.
func TestWordsOfDomainsGrowOld(t *testing.T) {
	d := newDesk()
	for i := range 10 {
		d.says("rcpt", []string{"shop", "corporate"}[i%2], fmt.Sprintf("d%d.example", i), 0)
		d.at = d.at.Add(31 * time.Minute)
	}
	if d.Waits("main") {
		t.Error("old words count")
	}
	d.at = d.at.Add(2 * time.Hour)
	d.says("rcpt", "shop", "a.example", 0)
	d.says("rcpt", "corporate", "b.example", 0)
	d.Took("main", "google", "x.a.example", false)
	d.says("rcpt", "shop", "c.example", 0)
	if d.Waits("main") {
		t.Error("who has taken mail since counts")
	}
	d.says("rcpt", "shop", "d.example", 0)
	if !d.Waits("main") {
		t.Error("three do not count")
	}
}

func TestWaitsGrowAndAreBounded(t *testing.T) {
	d := newDesk()
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		d.says("connect", "shop", "a.example", 0)
		d.says("connect", "shop", "a.example", 0) // what is said during a wait belongs to it
		if got := d.left("main", "corporate", "google"); got != want*time.Minute {
			t.Errorf("waits %v, want %v", got, want*time.Minute)
		}
		d.at = d.at.Add(want*time.Minute + time.Second)
	}
	d.at = d.at.Add(3 * time.Hour)
	d.says("connect", "shop", "a.example", 48*time.Hour)
	if got := d.left("main", "corporate", "google"); got != 30*time.Minute {
		t.Errorf("a time that one client was told: %v", got)
	}
	d.says("connect", "corporate", "a.example", 48*time.Hour)
	if got := d.left("main", "corporate", "google"); got != 24*time.Hour {
		t.Errorf("a time that two were told: %v", got)
	}
	d.says("connect", "corporate", "a.example", 0)
	if got := d.left("main", "corporate", "google"); got != 24*time.Hour {
		t.Errorf("a reply without a time makes it shorter: %v", got)
	}
}

// TestWaitEndsByTrial: each client has one in five minutes, and when it is taken all go on.
func TestWaitEndsByTrial(t *testing.T) {
	d := newDesk()
	d.says("connect", "shop", "a.example", 0)
	d.says("connect", "corporate", "a.example", time.Hour)
	for range 2 {
		d.at = d.at.Add(trialEvery)
		for _, client := range []string{"shop", "corporate"} {
			if left, trial := d.Left("main", client, "google"); left != 0 || !trial {
				t.Fatalf("%s: %v, %v", client, left, trial)
			}
			if left, trial := d.Left("main", client, "google"); left == 0 || trial {
				t.Fatalf("%s has a second trial", client)
			}
		}
	}
	d.Took("main", "google", "a.example", false) // it was under way before
	if d.left("main", "shop", "google") == 0 {
		t.Error("what was under way before ends the wait")
	}
	d.Took("main", "yahoo", "a.example", true)
	d.Took("other", "google", "a.example", true)
	if d.left("main", "shop", "google") == 0 {
		t.Error("another group or stream ends the wait")
	}
	d.Took("main", "google", "a.example", true)
	if d.left("main", "shop", "google") != 0 || d.Waits("main") || d.any.Load() || len(d.List()) != 0 {
		t.Error("a trial that was taken does not end it")
	}
}

// TestMemoryForgetsWhatIsOver: once mail is taken again, words that have grown old keep
// nothing there.
func TestMemoryForgetsWhatIsOver(t *testing.T) {
	d := newDesk()
	d.says("rcpt", "shop", "a.example", 0)
	d.Took("main", "google", "b.example", false)
	if !d.any.Load() {
		t.Error("a word that counts is forgotten")
	}
	d.at = d.at.Add(remember + time.Second)
	d.Took("main", "google", "b.example", false)
	if d.any.Load() || len(d.pairs) != 0 {
		t.Errorf("%d pairs are kept for an old word", len(d.pairs))
	}
}

func TestEndAndList(t *testing.T) {
	d := newDesk()
	d.says("connect", "shop", "a.example", 0)
	d.Refused(&Refusal{Stream: "news", Client: "shop", Group: "google", Domain: "a.example", At: "mail", Reply: "x"})
	d.Refused(&Refusal{Stream: "main", Client: "shop", Group: "yahoo", Domain: "a.example", At: "rcpt"})
	if all := d.List(); len(all) != 2 || all[0].Stream != "main" || all[0].Group != "google" || all[0].Reply != "421 4.7.28 too fast" || !all[0].Until.Equal(d.at.Add(time.Minute)) {
		t.Errorf("%+v", all)
	}
	if n := d.End("main", "yahoo"); n != 0 {
		t.Errorf("%d ended that did not wait", n)
	}
	if n := d.End("", "google"); n != 2 || d.Waits("main") || d.Waits("news") {
		t.Errorf("%d ended", n)
	}
}

// TestMemoryIsBounded: a hundred thousand domains leave it as it is.
func TestMemoryIsBounded(t *testing.T) {
	d := newDesk()
	for i := range 100_000 {
		d.says("rcpt", fmt.Sprintf("client%d", i%1000), fmt.Sprintf("d%d.example", i), 0)
	}
	s := d.pairs[pair{"main", "google"}]
	if len(s.witnesses.words) > most || len(s.heard) > 2 {
		t.Errorf("%d domains, %d clients", len(s.witnesses.words), len(s.heard))
	}
	for i := range 3 * maxPairs {
		d.Refused(&Refusal{Stream: fmt.Sprint(i), Group: "google", Domain: "a.example", At: "connect"})
	}
	if len(d.pairs) > maxPairs {
		t.Errorf("%d pairs", len(d.pairs))
	}
}
