package outlier

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// Row is one sender, user or client in a list.
type Row struct {
	Scope    string    `json:"scope"`
	Name     string    `json:"name"`
	Client   string    `json:"client"`
	State    Level     `json:"state"`
	Until    time.Time `json:"until"` // zero: until released, or no state
	Shadow   bool      `json:"shadow,omitempty"`
	Score    float64   `json:"score"`
	Hour     int       `json:"hour"`       // recipients of the last hour
	UsualHr  int       `json:"usual_hour"` // the record for it
	Day      int       `json:"day"`        // recipients of the last 24 hours
	UsualDay int       `json:"usual_day"`
	Away     int       `json:"away"` // recipients turned away, aborted or shadowed, of about the last hour
	Last     time.Time `json:"last"` // latest message
	// LastAlarm is zero when there was none of late.
	LastAlarm time.Time `json:"last_alarm"`
	Reason    string    `json:"reason,omitempty"` // of the state
}

// Query says which rows are wanted.
type Query struct {
	Scope string // sender (also as users send with it), user+sender, user, client; "": all
	State Level  // this and harder ones; Normal: all
	Match string // a part of the name; "": all
	Sort  string // score, day, name, last, alarm; "": state, then score
	// Limit bounds the rows that are neither throttled nor suspended; 0: 100.
	Limit int
}

// Sorts are the orders that Query.Sort takes.
var Sorts = []string{"score", "day", "name", "last", "alarm"}

// List gives the rows that the query asks for and the number of those that
// would be there without its limit. Whatever is throttled or suspended is among
// them, if it is asked for at all.
func (w *Watch) List(q Query) (rows []Row, all int) {
	folded := mail.User(q.Match, w.parse)
	matches := func(name string) bool { return strings.Contains(name, q.Match) || strings.Contains(name, folded) }
	w.mu.Lock()
	now := w.clock.read()
	seen, ofUsers := map[stateKey]bool{}, map[string]bool{}
	listed := func(scope string) bool {
		return q.Scope == "" || scope == q.Scope || q.Scope == Sender && scope == UserSender
	}
	w.engine.roster.all(func(e *entry) bool {
		if k, ok := e.key(); ok && listed(k.scope) && matches(e.name) {
			seen[k] = true
			rows = append(rows, w.row(now, k, e))
			if k.scope == UserSender {
				_, sender := pairOf(k.name)
				ofUsers[sender] = true
			}
		}
		return true
	})
	for k := range w.states { // suspended by hand before a first message
		if listed(k.scope) && !seen[k] && matches(k.name) && !(k.scope == Sender && ofUsers[k.name]) {
			rows = append(rows, w.row(now, k, nil))
		}
	}
	w.mu.Unlock()
	w.tell()
	rows = slices.DeleteFunc(rows, func(r Row) bool { return r.State < q.State })
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(q.compare(&a, &b), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Scope, b.Scope))
	})
	all, left := len(rows), cmp.Or(q.Limit, 100)
	return slices.DeleteFunc(rows, func(r Row) bool {
		if r.State < Throttled {
			left--
		}
		return r.State < Throttled && left < 0
	}), all
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

// row describes k; e is its meter, nil when it has none.
func (w *Watch) row(now time.Time, k stateKey, e *entry) Row {
	r := Row{Scope: k.scope, Name: k.name}
	if e != nil {
		f := w.present(now, e)
		r.Client = w.engine.byNum[e.client].name
		r.Score = float64(f.score)
		r.Hour, r.UsualHr = whole(f.all[sent][hour]), whole(f.e.record[sent][hour])
		r.Day, r.UsualDay = whole(f.all[sent][day]), whole(f.e.record[sent][day])
		r.Away, r.Last = whole(f.e.away), time.Unix(int64(e.last), 0)
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

// present scores a copy of an entry as it stands now.
func (w *Watch) present(now time.Time, e *entry) finding {
	c := *e
	c.roll(now.Unix())
	var floor *table
	if k, ok := e.key(); ok {
		floor = w.rules.floorOf(k, now)
	}
	return w.engine.look(&c, w.blamed(e, now), floor, w.engine.scale(&c))
}

// blamed is what a user or client sent that is the fault of somebody narrower; nil
// for nothing.
func (w *Watch) blamed(e *entry, now time.Time) *meter {
	if e.scope != ofUser && e.scope != ofClient {
		return nil
	}
	others := w.engine.roster.find(e.scope.others(), e.name)
	if others == nil {
		return nil
	}
	m := others.meter
	m.roll(now.Unix())
	return &m
}

// key names what an entry counts the volume of; ok is false for the others.
func (e *entry) key() (k stateKey, ok bool) {
	switch e.scope {
	case ofSender, ofUser, ofClient, ofUserSender:
		return (&finding{e: e}).key(), true
	}
	return stateKey{}, false
}

func whole(f float32) int { return int(f + 0.5) }

// Detail is all that is known about one sender, user or client.
type Detail struct {
	Row
	First    time.Time  `json:"first"` // day of the first message
	Messages int        `json:"messages"`
	Windows  []Window   `json:"windows"`
	History  []int      `json:"history"` // recipients of the last 14 days, give or take a fifth (addHistory), today last
	Alarms   []Alarm    `json:"alarms"`
	Names    *NamesNow  `json:"names,omitempty"` // of a user or client
	By       string     `json:"by,omitempty"`    // who made the present state by hand
	Expected []Pace     `json:"expected,omitempty"`
	Explain  *Arguments `json:"explain,omitempty"`
}

// Window is one kind in one window.
type Window struct {
	Kind   string  `json:"kind"`   // sent, new, refused
	Window string  `json:"window"` // 1h, 24h, days
	Now    float64 `json:"now"`
	Record float64 `json:"record"`
}

// NamesNow are the sender names of a user or client.
type NamesNow struct {
	Score     float64 `json:"score"`
	InUse     float64 `json:"in_use"` // within the hour
	New       float64 `json:"new"`    // within 24 hours
	UsualNew  float64 `json:"usual_new"`
	Together  float64 `json:"together"` // by how much the scores of senders rose within 24 hours
	UsualRise float64 `json:"usual_together"`
}

// ErrUnknown is returned for names that the watch has nothing about.
var ErrUnknown = errors.New("is unknown to the watch")

var kindNames = [kinds]string{"sent", "new", "refused"}
var windowNames = [windows]string{"1h", "24h", "days"}

// Show tells all about one sender, user or client.
func (w *Watch) Show(scope, name string) (*Detail, error) {
	name = w.nameOf(scope, name)
	defer w.tell()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.shown(stateKey{scope, name})
	scope, name = k.scope, k.name
	e := w.engine.roster.find(k.meterScope(), name)
	now := w.clock.read()
	s := w.holding(k, now)
	if e == nil && s == nil {
		return nil, fmt.Errorf("%s %s %w", scope, name, ErrUnknown)
	}
	d := &Detail{Row: w.row(now, k, e)}
	if s != nil {
		d.Alarms = s.Alarms
		if s.Level > Normal {
			d.By = s.By
		}
	}
	switch scope {
	case UserSender:
		_, sender := pairOf(name)
		d.Expected = w.rules.senders[mail.Identity(sender)].Expected
	case Sender:
		d.Expected = w.rules.senders[mail.Identity(name)].Expected
	case Client:
		d.Expected = w.rules.Client[name].Expected
	}
	if e == nil {
		return d, nil
	}
	f := w.present(now, e)
	d.First, d.Messages = time.Unix(int64(e.born)*daySeconds, 0).UTC(), int(e.messages)
	for k := range kinds {
		for i := range windows {
			d.Windows = append(d.Windows, Window{kindNames[k], windowNames[i], float64(f.all[k][i]), float64(f.e.record[k][i])})
		}
	}
	for i := historyDays - 1; i >= 0; i-- {
		d.History = append(d.History, whole(historyOf(f.e.history[i])))
	}
	d.Explain = w.arguments(&f)
	d.Names = w.namesNow(now, k)
	return d, nil
}

// holding is the state of k, of a sender as a user sends with it that of the sender
// whoever sends with it, where that is harder; nil for none.
func (w *Watch) holding(k stateKey, now time.Time) *State {
	s := w.current(k, now)
	if k.scope != UserSender {
		return s
	}
	_, sender := pairOf(k.name)
	all := w.current(stateKey{Sender, sender}, now)
	if all != nil && (s == nil || all.harder(s, now)) {
		return all
	}
	return s
}

// shown is k, or for a sender with which only users send the one of them that is
// in the hardest state, or has sent most.
func (w *Watch) shown(k stateKey) stateKey {
	if k.scope != Sender || w.engine.roster.find(ofSender, k.name) != nil {
		return k
	}
	best := k
	level, messages := Normal, uint32(0)
	for _, u := range w.withUsers(k)[1:] {
		l, n := Normal, uint32(0)
		if s := w.states[u]; s != nil {
			l = s.Level
		}
		if e := w.engine.roster.find(ofUserSender, u.name); e != nil {
			n = e.messages
		}
		if best == k || l > level || l == level && n > messages {
			best, level, messages = u, l, n
		}
	}
	return best
}

func (w *Watch) namesNow(now time.Time, k stateKey) *NamesNow {
	all := w.entries(k)
	if len(all) < 2 {
		return nil
	}
	f := w.present(now, all[1])
	return &NamesNow{
		Score: float64(f.score), InUse: float64(f.sums[refused][hour]),
		New: float64(f.sums[fresh][day]), UsualNew: float64(f.e.record[fresh][day]),
		Together: float64(f.sums[sent][day]), UsualRise: float64(f.e.record[sent][day]),
	}
}

// Arguments are the arithmetic of a score.
type Arguments struct {
	Score       float64    `json:"score"`
	Sensitivity float64    `json:"sensitivity"`
	Ease        float64    `json:"ease"`            // divides the score of who is new; else 1
	Alone       bool       `json:"alone,omitempty"` // the only sender of its client
	Parts       []Argument `json:"parts"`           // of sent, new and refused recipients
	Regular     []Regular  `json:"regular,omitempty"`
}

// Regular is mail that comes again and again, and is no evidence while it is as
// large as usual.
type Regular struct {
	Recipients float64   `json:"recipients"` // most in 24 hours
	New        float64   `json:"new"`        // of them, never seen before
	Last       time.Time `json:"last"`       // day on which it came last
	Days       int       `json:"days"`       // fewest between two of them; 0: there was one
}

// regular lists the runs that have come again.
func (f *finding) regular() (all []Regular) {
	if f.runs == nil {
		return nil
	}
	for i := range f.runs.past {
		if p := &f.runs.past[i]; p.times == 2 {
			all = append(all, Regular{
				Recipients: float64(p.top[sent][day]), New: float64(p.top[fresh][day]),
				Last: time.Unix(int64(p.day)*daySeconds, 0).UTC(), Days: int(p.gap),
			})
		}
	}
	return all
}

// Argument is the evidence of one kind: that of its strongest window,
// (Now - Usual) / (Width + Slope * Usual), of which beyond Bend only 15 % count, at
// most Most.
type Argument struct {
	Kind   string  `json:"kind"`
	Window string  `json:"window"`
	Now    float64 `json:"now"`
	Usual  float64 `json:"usual"`  // the record, or what everybody is granted, or what is expected
	Grant  float64 `json:"grant"`  // of Usual the share of what was sent that may be refused, where that counts
	Record float64 `json:"record"` // of these the record
	Width  float64 `json:"width"`
	Slope  float64 `json:"slope"`
	Bend   float64 `json:"bend"` // 0: all counts
	Most   float64 `json:"most"`
	Value  float64 `json:"value"`
}

func (w *Watch) arguments(f *finding) *Arguments {
	s := f.scale
	a := &Arguments{
		Score: float64(f.score), Sensitivity: float64(w.engine.tuning.sensitivity), Ease: float64(f.e.ease(s)), Alone: s == &aloneScale,
		Regular: f.regular(),
	}
	for k := range kinds {
		i := f.evidence[k].window
		p := Argument{
			Kind: kindNames[k], Window: windowNames[i], Now: float64(f.sums[k][i]),
			Usual: float64(f.e.usual(k, i, f.floor, s)), Record: float64(f.e.record[k][i]),
			Width: float64(s.width[k][i]), Slope: float64(s.slope[k][i]), Bend: float64(s.bend[k]), Most: float64(s.most[k]),
			Value: float64(f.evidence[k].value),
		}
		if granted := float64(s.grant * f.sums[sent][i]); k == refused && granted > p.Usual {
			p.Usual, p.Grant = granted, float64(s.grant)
		}
		a.Parts = append(a.Parts, p)
	}
	return a
}

// String writes the arithmetic in lines.
func (a *Arguments) String() string {
	var b strings.Builder
	values := make([]string, len(a.Parts))
	for i, p := range a.Parts {
		values[i] = fmt.Sprintf("%s %.2f", p.Kind, p.Value)
	}
	fmt.Fprintf(&b, "score %.2f = (%s) x sensitivity %g", a.Score, strings.Join(values, " + "), a.Sensitivity)
	if a.Ease > 1 {
		fmt.Fprintf(&b, " / %.2f, as it is new", a.Ease)
	}
	b.WriteString("; an alarm from 1 on\n")
	if a.Alone {
		fmt.Fprintf(&b, "its client has no other sender, so that refused recipients count %d times\n", aloneTimes)
	}
	for _, r := range a.Regular {
		fmt.Fprintf(&b, "regular  %.0f recipients in 24h, %.0f of them new, last on %s; no evidence when it comes again", r.Recipients, r.New, r.Last.Format(time.DateOnly))
		if r.Days > 0 {
			fmt.Fprintf(&b, " from %d days after that on", (r.Days+1)/2)
		}
		b.WriteByte('\n')
	}
	for _, p := range a.Parts {
		if p.Value == 0 {
			fmt.Fprintf(&b, "%-8s within what is usual in every window\n", p.Kind)
			continue
		}
		p.write(&b)
	}
	return b.String()
}

func (p *Argument) write(b *strings.Builder) {
	granted := ""
	if p.Grant > 0 {
		granted = fmt.Sprintf(", %.0f %% of what was sent", 100*p.Grant)
	}
	v := (p.Now - p.Usual) / (p.Width + p.Slope*p.Usual)
	fmt.Fprintf(b, "%-8s %.1f in %s, usual %.1f (record %.1f%s): (%.1f - %.1f) / (%.1f + %.2f x %.1f) = %.2f",
		p.Kind, p.Now, p.Window, p.Usual, p.Record, granted, p.Now, p.Usual, p.Width, p.Slope, p.Usual, v)
	switch {
	case p.Value >= p.Most:
		fmt.Fprintf(b, ", counted as %.2f at most", p.Most)
	case p.Bend > 0 && v > p.Bend:
		fmt.Fprintf(b, ", of which %.2f and %.0f %% of the rest count while it is new: %.2f", p.Bend, 100*bentBy, p.Value)
	}
	b.WriteByte('\n')
}

// Explain gives the arithmetic of the present score.
func (w *Watch) Explain(scope, name string) (*Arguments, error) {
	d, err := w.Show(scope, name)
	if err != nil {
		return nil, err
	}
	if d.Explain == nil {
		return nil, fmt.Errorf("%s %s %w", scope, name, ErrUnknown)
	}
	return d.Explain, nil
}

// Sparkline draws numbers in one line of characters.
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
	return pairName(w.nameOf(User, user), w.senderTarget(sender))
}

// FindTarget reads what an operator calls somebody: "sender:a@x.example",
// "user:shop", "client:shop", "user+sender:shop a@x.example", or without the word an
// address, the name of a user with an address behind it, or the name of a user or
// client that is known; of two with the same name the user.
func (w *Watch) FindTarget(s string) (scope, name string, err error) {
	if kind, rest, ok := strings.Cut(s, ":"); ok && rest != "" {
		switch kind {
		case Sender:
			return Sender, w.senderTarget(rest), nil
		case UserSender:
			return UserSender, w.pairTarget(rest), nil
		case User, Client:
			return kind, w.nameOf(kind, rest), nil
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
	for _, scope := range [...]string{User, Client} {
		k := stateKey{scope, w.nameOf(scope, s)}
		if w.states[k] != nil || w.engine.roster.find(k.meterScope(), k.name) != nil {
			return scope, k.name, nil
		}
	}
	return "", "", fmt.Errorf("%q is no sender, and no user or client that has sent; write an address, user:NAME or client:NAME", s)
}
