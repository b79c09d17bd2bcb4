package reputation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/mail"
)

// traffic is a history of made-up but uneven mail: 40 senders of 4 clients,
// each with its own pace, share of strangers and share of refusals.
type traffic struct {
	*History
	rng *rand.Rand
	at  time.Time
	id  int
}

func newTraffic(seed uint64) *traffic {
	return &traffic{History: NewHistory(24 * time.Hour), rng: rand.New(rand.NewPCG(seed, 1)), at: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
}

func (h *traffic) send(sender, client string, at time.Time, rcpts ...Recipient) {
	h.id++
	h.Add(&Transaction{Time: at, ID: fmt.Sprint(h.id), Client: client, Sender: mail.Identity(sender), Stream: "main", Recipients: rcpts})
}

func (h *traffic) rcpt(sender string, stranger bool, refuse float64) Recipient {
	r := Recipient{Address: mail.RecipientID(fmt.Sprintf("%s-%d@x.example", sender, h.rng.IntN(30))), Relayed: true, Code: 250}
	if stranger {
		r.Address = mail.RecipientID(fmt.Sprintf("new-%d@y.example", h.rng.Int64()))
	}
	if h.rng.Float64() < refuse {
		r.Relayed, r.Code, r.Class = false, 550, "no-such-user"
	}
	return r
}

// day sends one usual day, hour by hour.
func (h *traffic) day() {
	weekend := h.at.Weekday() == time.Saturday || h.at.Weekday() == time.Sunday
	for hour := range 24 {
		for s := range 40 {
			pace := float64(1+s%7) / 4
			if hour < 7 || hour > 19 || weekend {
				pace /= 10
			}
			n := int(h.rng.ExpFloat64() * pace)
			for range n {
				sender := fmt.Sprintf("s%d", s)
				stranger := h.rng.Float64() < float64(s%5)/10
				h.send(sender, fmt.Sprintf("c%d", s%4), h.at, h.rcpt(sender, stranger, 0.003))
			}
		}
		h.at = h.at.Add(time.Hour)
	}
}

func (h *traffic) suspects() []Suspect {
	return slices.DeleteFunc(h.Suspects(nil, h.at, nil), func(s Suspect) bool { return s.Score < NoSuspect })
}

// TestSuspectsNameTheCause: bursts of different kinds, found at delays of 1 to
// 12 hours.
func TestSuspectsNameTheCause(t *testing.T) {
	attacks := map[string]func(h *traffic, sender string){
		"a burst to strangers": func(h *traffic, sender string) {
			for range 80 {
				h.send(sender, "c0", h.at, h.rcpt(sender, true, 0.15))
			}
		},
		"five an hour for a day": func(h *traffic, sender string) {
			for hour := range 24 {
				for range 5 {
					h.send(sender, "c0", h.at.Add(time.Duration(hour-24)*time.Hour), h.rcpt(sender, true, 0.15))
				}
			}
		},
		"a few messages to many": func(h *traffic, sender string) {
			for range 10 {
				var rs []Recipient
				for range 50 {
					rs = append(rs, h.rcpt(sender, true, 0.15))
				}
				h.send(sender, "c0", h.at, rs...)
			}
		},
		"many to known recipients": func(h *traffic, sender string) {
			for range 150 {
				h.send(sender, "c0", h.at, h.rcpt(sender, false, 0.002))
			}
		},
	}
	first, three, n := 0, 0, 0
	for _, name := range sortedKeys(attacks) {
		for seed := range uint64(seeds) {
			h := newTraffic(seed)
			for range 25 {
				h.day()
			}
			h.at = h.at.Add(10 * time.Hour)
			sender := fmt.Sprintf("s%d", 4*h.rng.IntN(10))
			attacks[name](h, sender)
			h.at = h.at.Add(time.Duration(1+h.rng.IntN(11)) * time.Hour)
			rank := slices.IndexFunc(h.suspects(), func(s Suspect) bool { return s.Name == sender })
			n++
			if rank == 0 {
				first++
			}
			if rank >= 0 && rank < 3 {
				three++
			}
		}
	}
	if first*100 < n*80 || three*100 < n*95 {
		t.Errorf("of %d the cause was first %d times and among three %d times", n, first, three)
	}
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestQuietDaysHaveNoSuspect(t *testing.T) {
	quiet, n := 0, 0
	for seed := range uint64(max(seeds/3, 1)) {
		h := newTraffic(seed)
		for range 25 {
			h.day()
		}
		for range 10 {
			h.day()
			n++
			if len(h.suspects()) == 0 {
				quiet++
			}
		}
	}
	if quiet*100 < n*80 {
		t.Errorf("no suspect on %d of %d quiet days", quiet, n)
	}
}

func TestSpreadAbuseNamesTheClient(t *testing.T) {
	h := newTraffic(3)
	for range 25 {
		h.day()
	}
	for i := range 200 {
		h.send(fmt.Sprintf("made-up-%d", i), "c1", h.at, h.rcpt("x", true, 0.15))
	}
	h.at = h.at.Add(3 * time.Hour)
	s := h.suspects()
	if len(s) == 0 || s[0].Kind != "client" || s[0].Name != "c1" || s[0].NewSenders != 200 {
		t.Errorf("suspects %+v", s)
	}
}

func TestSuspectsOfOtherStreamsAreLeftOut(t *testing.T) {
	h := NewHistory(24 * time.Hour)
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range 100 {
		for _, stream := range []string{"one", "two"} {
			h.Add(&Transaction{Time: at, ID: "t", Client: "c", Sender: mail.Identity("in-" + stream), Stream: stream,
				Recipients: []Recipient{{Address: mail.RecipientID(fmt.Sprint(i)), Relayed: true}}})
		}
	}
	for _, s := range h.Suspects([]string{"two"}, at.Add(time.Hour), nil) {
		if s.Stream != "two" {
			t.Errorf("suspect of stream %s", s.Stream)
		}
	}
	scored := h.Suspects([]string{"two"}, at.Add(time.Hour), func(kind, name, _ string) float64 {
		if kind == "sender" && name == "in-two" {
			return 2
		}
		return 0
	})
	plain := h.Suspects([]string{"two"}, at.Add(time.Hour), nil)
	if scored[0].Score != plain[0].Score+4 || scored[0].Outlier != 2 || !strings.Contains(scored[0].Explain(), "outlier score 2.0") {
		t.Errorf("with a score of the outlier watch: %+v", scored[0])
	}
}

func TestHistoryForgetsTheIdleFirst(t *testing.T) {
	h := NewHistory(24 * time.Hour)
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range maxEntities + 100 {
		h.Add(&Transaction{Time: at.Add(time.Duration(i) * time.Second), Client: "c", Sender: mail.Identity(fmt.Sprint(i)), Stream: "s", Recipients: []Recipient{{Address: "a"}}})
	}
	if n := len(h.entities); n > maxEntities {
		t.Errorf("%d entities", n)
	}
	if h.entities[entityKey{aSender, "0", "s"}] != nil || h.entities[entityKey{aSender, fmt.Sprint(maxEntities + 99), "s"}] == nil {
		t.Error("the wrong ones were forgotten")
	}
}

func TestPairSetKnowsWhatItWasTold(t *testing.T) {
	p := newPairSet()
	const n = 20_000
	for i := range n {
		p.add("c", fmt.Sprint(i))
	}
	wrong := 0
	for i := range n {
		if !p.add("c", fmt.Sprint(i)) {
			t.Fatalf("forgot %d", i)
		}
		if i%4 == 0 && p.add("d", fmt.Sprint(i)) {
			wrong++
		}
	}
	if wrong > n/400 {
		t.Errorf("%d of %d new pairs were taken for known", wrong, n/4)
	}
	p.Count = pairBits/2 - 50 // nearly full
	for i := range 100 {
		p.add("e", fmt.Sprint(i))
	}
	if !p.add("c", "1") || !p.add("e", "99") {
		t.Error("a new generation forgot the one before")
	}
	p.Count = pairBits
	p.add("f", "1")
	p.Count = pairBits
	p.add("f", "2")
	if p.add("c", "2") {
		t.Error("two generations later a pair is still known")
	}
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestEchoesAreDroppedInLinearTime: what a sender with 50,000 names costs is
// counted in comparisons of the old way: 50,000 squared would take half a minute of CPU.
func TestEchoesAreDroppedInLinearTime(t *testing.T) {
	var list []Suspect
	for i := range 50_000 {
		list = append(list, Suspect{Kind: string(aSender), Name: fmt.Sprint(i), Client: "shop", User: fmt.Sprint("u", i), Stream: "main", Recipients: 9})
	}
	list = append(list,
		Suspect{Kind: string(aUser), Name: "u7", Stream: "main", Recipients: 10},          // 9 of 10: the sender's echo
		Suspect{Kind: string(aUser), Name: "u8", Stream: "main", Recipients: 11},          // stands out by others, too
		Suspect{Kind: string(aUser), Name: "u9", Stream: "other", Recipients: 10},         // of another stream
		Suspect{Kind: string(aClient), Name: "shop", Stream: "main", Recipients: 450_000}, // all its senders together
	)
	began := cpuTime() // whatever else the machine does
	kept := dropEchoes(list)
	if took := cpuTime() - began; took > 10*time.Second {
		t.Errorf("took %v of CPU", took)
	}
	var names []string
	for _, s := range kept[50_000:] {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "u8 u9 shop" {
		t.Errorf("kept %q", got)
	}
}
