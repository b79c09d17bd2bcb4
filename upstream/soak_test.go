package upstream

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakTime is how long each way of TestSoak runs; make soak sets it.
var soakTime = flag.Duration("soak", 1500*time.Millisecond, "how long each of the four ways of TestSoak runs")

// mess makes a wild upstream add, drop and split replies at random, and hang up.
type mess struct {
	mu    sync.Mutex
	r     *rand.Rand
	added map[string]bool // messages with a line added since their 354 or BDAT
	lost  map[string]bool // messages whose true verdict was dropped
	count map[string]int  // of each thing that was done
	conns map[*wildConn]*recent
	byID  map[string]*recent // of the messages judged
}

// recent is what was added in the transaction that is under way.
type recent struct {
	last   string   // the message before, until the next MAIL
	early  int      // lines added between that and MAIL
	told   []string // what was said
	body   bool     // 354 has been said, or BDAT has come
	lines  int
	goOn   bool // one was 354
	inBody bool // one came after 354 or BDAT
}

var strays = []string{
	"250 2.0.0 ok", "250 2.0.0 ok", "250 2.1.5 recipient ok", "550 5.1.1 no such user", "554 5.7.1 stray", "451 4.3.0 later",
	"354 go on", "250-a\n250 b", "221 2.0.0 bye", "235 2.7.0 welcome", "500 5.5.2 what?",
}

// chance is true n times of a thousand.
func (m *mess) chance(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.r.IntN(1000) < n
}

func (m *mess) intN(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.r.IntN(n)
}

func (m *mess) did(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[what]++
}

func (m *mess) say(c *wildConn, stage, reply string) error {
	m.mu.Lock()
	if m.conns[c] == nil {
		m.conns[c] = new(recent)
	}
	if r := m.conns[c]; stage == "mail" {
		m.conns[c] = &recent{early: r.lines, told: r.told}
	}
	r := m.conns[c]
	r.told = append(r.told, stage+": "+reply)
	r.body = r.body || stage == "verdict" || stage == "bdat" || stage == "data" && strings.HasPrefix(reply, "354")
	m.mu.Unlock()
	if m.chance(15) {
		m.add(c)
	}
	if stage == "verdict" {
		// Also where it hangs up now: what was added may have been heard.
		defer m.judged(c, c.id)
	}
	if m.chance(8) {
		m.did("hung up")
		return errors.New("hang up")
	}
	if m.chance(10) {
		m.did("dropped")
		m.mu.Lock()
		r.told = append(r.told, "dropped")
		m.mu.Unlock()
		if stage == "verdict" {
			m.mu.Lock()
			m.lost[c.id] = true
			m.mu.Unlock()
		}
	} else if err := m.tell(c, reply); err != nil {
		return err
	}
	switch m.intN(60) {
	case 0:
		m.add(c)
	case 1:
		wait := time.Duration(m.intN(4000)) * time.Microsecond
		c.w.wg.Go(func() {
			time.Sleep(wait)
			m.add(c)
		})
	}
	return nil
}

// judged ends a message. What was added since its body began may have been taken
// for the verdict; so may, where two lines were added before that and one of them
// is 354, the reply that stands behind it then, and, by BDAT, a line of which a dropped one makes up the count.
func (m *mess) judged(c *wildConn, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.conns[c]
	m.added[id] = r.inBody || r.goOn && r.lines+r.early > 1 || r.lines+r.early > 0 && m.lost[id]
	m.byID[id] = r
	m.conns[c] = &recent{last: id}
}

// add writes a line that nobody asked for.
func (m *mess) add(c *wildConn) {
	// Written before anybody knows of a next step.
	m.mu.Lock()
	defer m.mu.Unlock()
	line := strays[m.r.IntN(len(strays))]
	r := m.conns[c]
	if r.lines++; m.lost[r.last] {
		m.added[r.last] = true // in the place of the one that was dropped
	}
	r.told = append(r.told, "added: "+line)
	r.goOn = r.goOn || strings.HasPrefix(line, "354")
	r.inBody = r.inBody || r.body
	m.count["added"]++
	c.added.Add(1)
	c.write(line)
}

// tell writes a reply, in one piece or in several.
func (m *mess) tell(c *wildConn, reply string) error {
	if !m.chance(150) {
		return c.write(reply)
	}
	m.did("split")
	text := []byte(strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n")
	r := rand.New(rand.NewPCG(uint64(m.intN(1<<30)), 0)) // c.mu is taken behind m.mu, not before
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(text) > 0 {
		n := 1 + r.IntN(len(text))
		if _, err := c.out.Write(text[:n]); err != nil {
			return err
		}
		text = text[n:]
		time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
	}
	return nil
}

// TestSoak sends mail through an upstream that adds, drops and splits replies,
// and holds what is told against the true verdict on each message. False ones
// are allowed only where nobody could know better: a reply in the place of the
// one to MAIL or RCPT; a line added between the go-ahead and the verdict; by BDAT
// a line added and the verdict dropped.
func TestSoak(t *testing.T) {
	eachWay(t, func(t *testing.T, w *wild, bdat bool) {
		t.Parallel()
		w.keep = false
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		m := &mess{
			r:     rand.New(rand.NewPCG(seed, 0)),
			added: map[string]bool{}, lost: map[string]bool{}, byID: map[string]*recent{}, count: map[string]int{}, conns: map[*wildConn]*recent{},
		}
		w.say = m.say
		w.knowsBDAT = func(n int) bool { return n%10 != 0 }
		newWild(t, w)
		cfg := w.config()
		cfg.Chunking, cfg.MaxConnections, cfg.RetryAfter = bdat, 4, time.Nanosecond
		cfg.CommandTimeout, cfg.FinalTimeout, cfg.GreetingTimeout = 300*time.Millisecond, 300*time.Millisecond, time.Second
		u := newUpstream(t, cfg)
		told := map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		end := time.Now().Add(*soakTime)
		for worker := range 6 {
			wg.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					id := fmt.Sprintf("%d-%d", worker, i)
					what := m.soakOne(t, u, w, id)
					mu.Lock()
					told[what]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		m.mu.Lock()
		t.Logf("told %v, done %v, counted %d, connections %d", told, m.count, u.Hosts()[0].Surplus, w.accepted)
		m.mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Logf("%d commands out of messages in whose transaction a reply was added", w.shifted)
		if w.smuggled > 0 {
			t.Errorf("%d commands out of messages in whose transaction no reply was added", w.smuggled)
		}
		if u.Hosts()[0].Surplus == 0 {
			t.Error("nothing counted")
		}
	})
}

// soakOne sends one message and returns what was told.
func (m *mess) soakOne(t *testing.T, u *Upstream, w *wild, id string) string {
	from, to := "a@a.example", []string{"good@b.example"}
	switch m.intN(12) {
	case 0:
		from = "bad@a.example"
	case 1:
		to = []string{"no-user@b.example"}
	case 2:
		to = []string{"spam@b.example"}
	case 3:
		to = []string{"nodata@b.example"}
	case 4:
		to = []string{"good@b.example", "no-user@b.example", "other@b.example"}
	case 5:
		to = []string{"good@b.example", "spam@b.example"}
	}
	r := numbered(t, u, id, from, to...)
	window, judged, said := false, false, []string(nil)
	for range 2000 { // what was told early is judged later
		m.mu.Lock()
		if window, judged = m.added[id]; judged && m.byID[id] != nil {
			said = m.byID[id].told
		}
		m.mu.Unlock()
		if judged || r.err != nil || r.final.Code == 0 || r.final.Code != 250 && strings.Contains(strings.Join(to, " "), "no") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	truth := w.takenAs(id)
	all := strings.Join(to, " ")
	falseNo := r.final.Permanent() && !strings.Contains(all, "spam") && !strings.Contains(all, "nodata") && !strings.Contains(all, "no-")
	switch {
	case r.err != nil:
		return "fault"
	case r.final.Code == 250 && truth != 250 && !window:
		t.Errorf("message %s to %v: told 250, its verdict is %d; the upstream said %q", id, to, truth, said)
	case falseNo && !window:
		t.Errorf("message %s to %v: told %v, its verdict is %d; the upstream said %q", id, to, r.final, truth, said)
	case r.final.Code == 250 && truth != 250 || falseNo:
		return "false in the window behind the go-ahead"
	case r.final.Code != 0:
		return r.final.String()[:3]
	}
	for i := range r.to {
		if r.to[i].Permanent() && from == "a@a.example" && !strings.Contains(to[i], "no-") {
			return "false 5yz in the window of MAIL and RCPT"
		}
	}
	return "refused before"
}
