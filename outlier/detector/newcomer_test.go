package detector

import (
	"fmt"
	"strings"
	"testing"
)

// TestNewSenderIsJudgedByStrangers: in its first two days, at a client that is known,
// and only where nobody there has used its name.
func TestNewSenderIsJudgedByStrangers(t *testing.T) {
	const day1 = 20_000 * daySeconds
	expected := func(Who) Expected { return Expected{Hour: 5, Day: 5} }
	for _, row := range []struct {
		name    string
		client  int // age of the client in days
		user    string
		from    string
		known   bool // the recipients are
		later   int  // days after the first message
		n       int
		expect  Expect
		atLeast float32
		below   float32
	}{
		{"ten strangers", 14, "", "new@x.example", false, 0, 10, nil, 0.5, 1},
		{"eleven strangers", 14, "", "new@x.example", false, 0, 11, nil, 1, 1.1},
		{"eleven strangers of a user", 14, "bert", "new@x.example", false, 0, 11, nil, 1, 1.1},
		{"eleven strangers on the second day", 14, "", "new@x.example", false, 1, 11, nil, 1, 1.2},
		{"eleven strangers on the third day", 14, "", "new@x.example", false, 2, 11, nil, 0, 0.8},
		{"forty strangers", 14, "", "new@x.example", false, 0, 40, nil, 2, 2.01},
		{"eleven whom the client knows", 14, "", "new@x.example", true, 0, 11, nil, 0, 0.5},
		{"a client of 13 days", 13, "", "new@x.example", false, 0, 11, nil, 0, 0.8},
		{"a name that another user has", 14, "bert", "old@x.example", false, 0, 11, nil, 0, 0.8},
		{"a sender of whom something is expected", 14, "", "new@x.example", false, 0, 11, expected, 0, 0.8},
	} {
		d := New(usual(), Seed{1, 2})
		count := func(at int64, user, from, to string, expect Expect) (score float32) {
			for _, f := range d.Count(&Event{At: at, Client: "shop", User: user, Sender: from, Recipients: []Recipient{{Hash: d.Hash(to), Took: true}}}, expect) {
				if f.Who() == Submitter(user, from) {
					score = f.Score
				}
			}
			return score
		}
		for i := range 40 {
			count(day1+int64(i), "anna", "old@x.example", fmt.Sprint("old", i), nil)
		}
		at := int64(day1 + row.client*daySeconds)
		if row.later > 0 {
			count(at, row.user, row.from, "old1", row.expect)
			at += int64(row.later) * daySeconds
		}
		var score float32
		for i := range row.n {
			to := fmt.Sprint("new", i)
			if row.known {
				to = fmt.Sprint("old", i)
			}
			score = count(at+int64(i), row.user, row.from, to, row.expect)
		}
		if score < row.atLeast || score >= row.below {
			t.Errorf("%s: score %.2f, want at least %v and below %v", row.name, score, row.atLeast, row.below)
		}
		p, _ := d.Profile(at+int64(row.n), Submitter(row.user, row.from), row.expect)
		text := p.Explain().String()
		if by := strings.Contains(text, "a new sender wrote to"); by != (row.atLeast > 0) {
			t.Errorf("%s: explained as\n%s", row.name, text)
		}
	}
}

// TestNewSenderHardlyWaitsForSensitivity: with half the sensitivity an alarm comes with
// the thirteenth stranger, and not with the twenty-second.
func TestNewSenderHardlyWaitsForSensitivity(t *testing.T) {
	const day1 = 20_000 * daySeconds
	s := usual()
	s.Sensitivity = 0.5
	d := New(s, Seed{1, 2})
	d.Count(&Event{At: day1, Client: "shop", Sender: "old@x.example", Recipients: []Recipient{{Hash: 1, Took: true}}}, nil)
	for i := range 13 {
		f := d.Count(&Event{At: day1 + 20*daySeconds + int64(i), Client: "shop", Sender: "new@x.example", Recipients: []Recipient{{Hash: d.Hash(fmt.Sprint("new", i)), Took: true}}}, nil)[0]
		if alarm := f.Score >= 1; alarm != (i == 12) {
			t.Errorf("stranger %d: score %.2f", i+1, f.Score)
		}
	}
	p, _ := d.Profile(day1+20*daySeconds+20, Who{Sender, "new@x.example"}, nil)
	if text := p.Explain().String(); !strings.Contains(text, "and 12.3 are an alarm") {
		t.Errorf("explained as\n%s", text)
	}
}

// TestNewSenderMayInviteMany: one message to many strangers, and a second one to them,
// are no alarm by that rule.
func TestNewSenderMayInviteMany(t *testing.T) {
	const day1 = 20_000 * daySeconds
	d := New(usual(), Seed{1, 2})
	d.Count(&Event{At: day1, Client: "shop", Sender: "old@x.example", Recipients: []Recipient{{Hash: 1, Took: true}}}, nil)
	ev := Event{At: day1 + 20*daySeconds, Client: "shop", Sender: "new@x.example"}
	for i := range 20 {
		ev.Recipients = append(ev.Recipients, Recipient{Hash: d.Hash(fmt.Sprint("guest", i)), Took: true})
	}
	for range 2 {
		if f := d.Count(&ev, nil)[0]; f.Score >= 1 || f.by == byNewcomer {
			t.Errorf("score %.2f", f.Score)
		}
		ev.At += 60
	}
}
