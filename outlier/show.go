package outlier

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/detector/arithmetic"
)

// Row is one sender, user or client in a list.
type Row struct {
	Scope    string    `json:"scope"`
	Name     string    `json:"name"`
	Client   string    `json:"client"`
	State    Level     `json:"state"`
	Until    time.Time `json:"until,omitzero"` // zero: until released, or no state
	Shadow   bool      `json:"shadow,omitempty"`
	Score    float64   `json:"score"`
	Hour     int       `json:"hour"`       // recipients of the last hour
	UsualHr  int       `json:"usual_hour"` // the record for it
	Day      int       `json:"day"`        // recipients of the last 24 hours
	UsualDay int       `json:"usual_day"`
	Away     int       `json:"away"`          // recipients turned away, aborted or shadowed, of about the last hour
	Last     time.Time `json:"last,omitzero"` // latest message
	// LastAlarm is zero when there was none of late.
	LastAlarm time.Time `json:"last_alarm,omitzero"`
	Reason    string    `json:"reason,omitempty"` // of the state
}

// Query says which rows are wanted.
type Query struct {
	Scope string // sender (also as users send with it), user+sender, user, submitter, client; "": all
	State Level  // this and harder ones; Normal: all
	Match string // a part of the name; "": all
	Sort  string // score, day, name, last, alarm; "": state, then score
	// Limit bounds the rows that are neither throttled nor suspended; 0: 100.
	Limit int
}

// Sorts are the orders that Query.Sort takes.
var Sorts = []string{"score", "day", "name", "last", "alarm"}

// listAtOnce is how many senders List looks at before mail may go on.
const listAtOnce = 256

// List returns the rows that the query asks for, and how many there would be without its
// limit. The limit never leaves out what is throttled or suspended. Mail goes on while the
// rows are gathered, so that each row is of its own moment.
func (w *Watch) List(q Query) (rows []Row, all int) {
	l := lister{Query: q, folded: mail.User(q.Match, w.parse), ofUsers: map[string]bool{}}
	l.Limit = cmp.Or(q.Limit, 100)
	for from, more := 0, true; more; more = from > 0 {
		from = w.listPart(&l, from)
		runtime.Gosched()
	}
	w.listUnseen(&l)
	w.tell()
	l.cut()
	seen := map[detector.Who]bool{} // who was forgotten meanwhile, and came again, is there twice
	return slices.DeleteFunc(l.rows, func(r Row) bool {
		k := detector.Who{Scope: r.Scope, Name: r.Name}
		twice := seen[k]
		seen[k] = true
		return twice
	}), l.all
}

// lister is a list that is being gathered.
type lister struct {
	Query
	folded  string          // Match as names have it
	ofUsers map[string]bool // senders in some state with which users send
	rows    []Row
	all     int // rows that there were
	room    int // rows at which those that do not fit are cut off
	last    Row // behind which none fits any more, once full
	full    bool
}

func (l *lister) lists(k detector.Who) bool {
	if l.Scope != "" && k.Scope != l.Scope && !(l.Scope == Sender && k.Scope == UserSender) {
		return false
	}
	return strings.Contains(k.Name, l.Match) || strings.Contains(k.Name, l.folded)
}

func (l *lister) add(r Row) {
	if r.State < l.State {
		return
	}
	l.all++
	if l.full && r.State < Throttled && l.order(&r, &l.last) > 0 {
		return
	}
	if len(l.rows) >= max(l.room, 4*listAtOnce) {
		l.cut()
		l.room = 2 * len(l.rows)
	}
	l.rows = append(l.rows, r)
}

func (l *lister) order(a, b *Row) int {
	return cmp.Or(l.compare(a, b), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Scope, b.Scope))
}

// cut puts rows into their order, and takes away those beyond the limit.
func (l *lister) cut() {
	slices.SortFunc(l.rows, func(a, b Row) int { return l.order(&a, &b) })
	left := l.Limit
	l.rows = slices.DeleteFunc(l.rows, func(r Row) bool {
		if r.State >= Throttled {
			return false
		}
		if left--; left == 0 {
			l.last, l.full = r, true
		}
		return left < 0
	})
}

// listPart adds some of those that have sent; next is where the rest begins, 0 at the end.
func (w *Watch) listPart(l *lister, from int) (next int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	part, next := w.detector.Part(from, listAtOnce)
	for _, k := range part {
		if !l.lists(k) {
			continue
		}
		p, _ := w.detector.Profile(now.Unix(), k, w.rules.expect(now))
		l.add(w.row(now, k, &p))
		if k.Scope == UserSender && len(w.states) > 0 {
			if _, sender := detector.SplitNames(k.Name); w.byHand(sender, now) != nil {
				l.ofUsers[sender] = true
			}
		}
	}
	return next
}

// listUnseen adds who was suspended by hand before a first message.
func (w *Watch) listUnseen(l *lister) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.read()
	for k, s := range w.states {
		if l.lists(k) && !w.detector.Has(k) && !(k.Scope == Sender && l.ofUsers[k.Name] && !OfUnnamed(s)) {
			l.add(w.row(now, k, nil))
		}
	}
}

func (q *Query) compare(a, b *Row) int {
	switch q.Sort {
	case "score":
		return cmp.Compare(b.Score, a.Score)
	case "day":
		return cmp.Compare(b.Day, a.Day)
	case "last":
		return b.Last.Compare(a.Last)
	case "alarm":
		return b.LastAlarm.Compare(a.LastAlarm)
	case "name":
		return 0
	}
	return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(b.Score, a.Score))
}

// row describes k; p is its profile, nil when it has none.
func (w *Watch) row(now time.Time, k detector.Who, p *detector.Profile) Row {
	r := Row{Scope: k.Scope, Name: k.Name}
	if p != nil {
		r.Client, r.Score = p.Client, p.Score
		r.Hour, r.UsualHr, r.Day, r.UsualDay = p.Hour, p.UsualHour, p.Day, p.UsualDay
		r.Away, r.Last = p.Away, p.Last
	}
	if s := w.holding(k, now); s != nil {
		r.State, r.Until, r.Shadow = s.Level, s.Until, s.Shadow
		if s.Level > Normal {
			r.Reason, r.Client = s.Reason, cmp.Or(r.Client, s.Client)
		}
		if n := len(s.Alarms); n > 0 {
			r.LastAlarm = s.Alarms[n-1].Time
		}
	}
	return r
}

// Detail is everything that is known about one sender, user or client.
type Detail struct {
	Row
	First    time.Time             `json:"first,omitzero"` // day of the first message
	Messages int                   `json:"messages"`
	Windows  []detector.Window     `json:"windows"`
	History  []int                 `json:"history"` // recipients of each of the last 14 days, give or take a fifth, today last
	Alarms   []Alarm               `json:"alarms"`
	Names    *detector.SenderNames `json:"names,omitempty"` // of a user or client
	By       string                `json:"by,omitempty"`    // who made the present state by hand
	Expected []Pace                `json:"expected,omitempty"`
	Explain  *arithmetic.Score     `json:"explain,omitempty"`
}

// ErrUnknown is returned for names that the watch has nothing about.
var ErrUnknown = errors.New("is unknown to the watch")

// Show returns everything about one sender, user or client. The error is ErrUnknown.
func (w *Watch) Show(scope, name string) (*Detail, error) {
	name = w.nameOf(detector.Who{Scope: scope, Name: name})
	defer w.tell()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.shown(detector.Who{Scope: scope, Name: name})
	now := w.clock.read()
	p, counted := w.detector.Profile(now.Unix(), k, w.rules.expect(now))
	s := w.holding(k, now)
	if !counted && s == nil {
		return nil, fmt.Errorf("%s %s %w", k.Scope, k.Name, ErrUnknown)
	}
	d := &Detail{Expected: w.rules.declared(k)}
	if s != nil {
		d.Alarms = s.Alarms
		if s.Level > Normal {
			d.By = s.By
		}
	}
	if !counted {
		d.Row = w.row(now, k, nil)
		return d, nil
	}
	d.Row = w.row(now, k, &p)
	d.First, d.Messages = p.First, p.Messages
	d.Windows, d.History, d.Explain = p.Windows(), p.History(), p.Explain()
	d.Names = w.detector.SenderNames(now.Unix(), k)
	return d, nil
}

// byHand is the state of a sender whoever sends with it; nil for none.
func (w *Watch) byHand(sender string, now time.Time) *State {
	s := w.current(detector.Who{Scope: Sender, Name: sender}, now)
	if s == nil || OfUnnamed(s) {
		return nil
	}
	return s
}

// holding is the state of k, of a sender as a user sends with it that of the sender
// whoever sends with it, where that is harder; nil for none.
func (w *Watch) holding(k detector.Who, now time.Time) *State {
	s := w.current(k, now)
	if k.Scope != UserSender {
		return s
	}
	_, sender := detector.SplitNames(k.Name)
	all := w.byHand(sender, now)
	if all != nil && (s == nil || all.Harder(s, now)) {
		return all
	}
	return s
}

// shown is k, or for a sender the one of its users that is in a harder state, or where only
// users send with it, has sent most: whoever writes a name without a user hides nobody.
func (w *Watch) shown(k detector.Who) detector.Who {
	if k.Scope != Sender {
		return k
	}
	level := func(k detector.Who) Level {
		if s := w.states[k]; s != nil {
			return s.Level
		}
		return Normal
	}
	best, hardest, messages := k, Normal, 0
	s := w.states[k]
	counted := w.detector.Has(k) || s != nil && OfUnnamed(s)
	if counted {
		hardest = level(k)
	}
	for _, u := range w.withUsers(k)[1:] {
		l, n := level(u), w.detector.Messages(u)
		if l > hardest || !counted && l == hardest && (best == k || n > messages) {
			best, hardest, messages = u, l, n
		}
	}
	return best
}

// Sparkline draws numbers as a line of block characters, one for each.
func Sparkline(numbers []int) string {
	most := slices.Max(append([]int{1}, numbers...))
	var b strings.Builder
	for _, n := range numbers {
		if n == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[min(7, n*8/(most+1))])
	}
	return b.String()
}

// senderTarget is the name of the sender that an operator calls s.
func (w *Watch) senderTarget(s string) string {
	p, err := mail.ParsePattern(s, w.parse)
	if id, one := p.Identity(); err == nil && one {
		return string(id)
	} else if err == nil {
		return p.String()
	}
	return string(mail.IdentityOf(s))
}

// pairTarget is the name of the sender of a user that an operator calls s.
func (w *Watch) pairTarget(s string) string {
	user, sender, _ := strings.Cut(s, " ")
	return detector.JoinNames(w.nameOf(detector.Who{Scope: User, Name: user}), w.senderTarget(sender))
}

// FindTarget reads how an operator names somebody: "sender:a@x.example", "user:shop",
// "client:shop", "submitter:mta/anna", "user+sender:shop a@x.example". Without the scope it
// is an address, the name of a user and an address, or the name of a known user or client,
// and of two with the same name the user.
func (w *Watch) FindTarget(s string) (scope, name string, err error) {
	if kind, rest, ok := strings.Cut(s, ":"); ok && rest != "" {
		if kind == Mailbox && !strings.Contains(rest, "/") {
			return "", "", fmt.Errorf("%q has no client, and two clients may both have one of that name; write submitter:CLIENT/NAME, as relay senders lists it", s)
		}
		switch kind {
		case Sender:
			return Sender, w.senderTarget(rest), nil
		case UserSender:
			return UserSender, w.pairTarget(rest), nil
		case User, Mailbox, Client:
			return kind, w.nameOf(detector.Who{Scope: kind, Name: rest}), nil
		}
	}
	if _, sender, ok := strings.Cut(s, " "); ok && strings.Contains(sender, "@") && s[0] != '"' {
		return UserSender, w.pairTarget(s), nil
	}
	if strings.Contains(s, "@") {
		return Sender, w.senderTarget(s), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, scope := range [...]string{User, Mailbox, Client} {
		k := detector.Who{Scope: scope, Name: w.nameOf(detector.Who{Scope: scope, Name: s})}
		if w.states[k] != nil || w.detector.Has(k) {
			return scope, k.Name, nil
		}
	}
	return "", "", fmt.Errorf("%q is not a sender, nor a user or client that has sent; write an address, user:NAME, submitter:CLIENT/NAME or client:NAME", s)
}
