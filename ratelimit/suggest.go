package ratelimit

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Suggestion is how much a client, or a sender, has sent at most, and a limit
// with room above it.
type Suggestion struct {
	Per     string            `json:"per"`  // "client" or "sender"
	Name    string            `json:"name"` // of the client, or the sender's address
	Windows []SuggestedWindow `json:"windows"`
}

// SuggestedWindow is one window of a Suggestion.
type SuggestedWindow struct {
	Unit    Unit      `json:"unit"`
	Window  string    `json:"window"`
	Highest int64     `json:"highest"` // the most that was seen; up to a 64th too high
	At      time.Time `json:"at"`      // when
	Limit   int64     `json:"limit"`   // suggested
}

// Suggester watches past transactions. It belongs to one goroutine.
type Suggester struct {
	limiter *Limiter
	clock   pastClock
	ctx     context.Context
	out     []Verdict
	rs      []Recipient
	keys    map[budgetName]*seenMost
	dropped bool
}

// seenMost is the most that one key had in each window of suggestWindows.
type seenMost struct {
	used []int64
	at   []time.Time
}

var suggestWindows = []Number{
	{N: MaxNumber, Window: time.Minute}, {N: MaxNumber, Window: time.Hour}, {N: MaxNumber, Window: 24 * time.Hour},
}

// NewSuggester begins with nothing seen.
func NewSuggester() *Suggester {
	s := &Suggester{ctx: context.Background(), keys: map[budgetName]*seenMost{}}
	rule := func(d Dimension) RuleConfig {
		return RuleConfig{Per: Per{d}, Messages: suggestWindows[1:], Recipients: suggestWindows}
	}
	rules, err := Compile(map[string]RuleConfig{"client": rule(PerClient), "sender": rule(PerSender)}, Env{})
	if err != nil {
		panic(err) // the rules above are ours
	}
	s.limiter = NewLimiter(NewEmbedded(StoreConfig{Memory: simulationMemory}, s.clock.now), rules, s.clock.now)
	return s
}

// Add takes the next transaction; what a limit refused then does not count.
func (s *Suggester) Add(p *Past) {
	s.clock.set(p.Time)
	s.rs = s.rs[:0]
	for i := range p.To {
		if to := &p.To[i]; to.Limit == "" && !to.GivenBack {
			s.rs = append(s.rs, to.Recipient)
		}
	}
	if len(s.rs) == 0 {
		return
	}
	a := s.limiter.Begin(p.Facts)
	defer a.End()
	s.out = a.Recipients(s.ctx, s.rs, s.out[:0])
	for i := range a.budgets {
		s.note(&a.budgets[i], p.Time)
	}
}

func (s *Suggester) note(st *account, at time.Time) {
	most := s.keys[budgetName{st.Limit, string(st.Key)}]
	if most == nil {
		if len(s.keys) >= maxReported {
			s.dropped = true
			return
		}
		most = &seenMost{make([]int64, len(st.Windows)), make([]time.Time, len(st.Windows))}
		s.keys[budgetName{st.Limit, string(st.Key)}] = most
	}
	for j := range st.looks {
		if used := st.looks[j].Used; used > most.used[j] {
			most.used[j], most.at[j] = used, at
		}
	}
}

// Suggest lists clients, then senders, by name. headroom is 1 or more: 1.5
// leaves half as much again above the highest use.
func (s *Suggester) Suggest(headroom float64) []Suggestion {
	list := make([]Suggestion, 0, len(s.keys))
	for name, most := range s.keys {
		one := Suggestion{Per: name.limit, Name: nameOf(name.key)}
		for j, w := range s.limiter.Rules().rule(name.limit).base.windows {
			one.Windows = append(one.Windows, SuggestedWindow{
				Unit: w.Unit, Window: FormatWindow(w.Length), Highest: most.used[j], At: most.at[j],
				Limit: roundUp(float64(most.used[j]) * max(1, headroom)),
			})
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Suggestion) int {
		return cmp.Or(cmp.Compare(a.Per, b.Per), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// nameOf is the sender or client of a key.
func nameOf(key string) string {
	parts, _ := parseKey(key)
	if len(parts) == 0 {
		return key
	}
	return parts[len(parts)-1].value
}

// roundUp gives the next number of two digits and noughts, such as 45, 120 or 3600.
func roundUp(x float64) int64 {
	n := int64(x)
	if float64(n) < x {
		n++
	}
	step := int64(1)
	for n/step >= 100 {
		step *= 10
	}
	return (n + step - 1) / step * step
}

// WriteSuggestions writes suggestions as limits for the configuration: a
// general number that nine in ten keep, and overrides for those that need more.
func WriteSuggestions(out io.Writer, list []Suggestion) error {
	w := bufio.NewWriter(out)
	for _, per := range []string{"client", "sender"} {
		var of []Suggestion
		for _, s := range list {
			if s.Per == per && s.Name != nullSender {
				of = append(of, s)
			}
		}
		if len(of) > 0 {
			writeSuggested(w, per, of)
		}
	}
	return w.Flush()
}

func writeSuggested(w *bufio.Writer, per string, of []Suggestion) {
	base := make([]int64, len(of[0].Windows))
	for j := range base {
		all := make([]int64, len(of))
		for i := range of {
			all[i] = of[i].Windows[j].Limit
		}
		slices.Sort(all)
		base[j] = all[(len(all)-1)*9/10]
	}
	fmt.Fprintf(w, "# Nine in ten of the %ss that sent (%d) stay within these numbers.\n[limit.%s]\nper = %q\n", per, len(of), per, per)
	for _, line := range numbersTOML(of[0].Windows, base, nil) {
		fmt.Fprintln(w, line)
	}
	began := false
	for _, s := range of {
		own := make([]int64, len(base))
		for j := range own {
			own[j] = max(base[j], s.Windows[j].Limit)
		}
		units := numbersTOML(s.Windows, own, base)
		if len(units) == 0 {
			continue
		}
		if !began {
			fmt.Fprintf(w, "\n[limit.%s.overrides]\n", per)
			began = true
		}
		fmt.Fprintf(w, "%s = { %s } # at most %s\n", tomlString(s.Name), strings.Join(units, ", "), highestWords(s.Windows))
	}
	fmt.Fprintln(w)
}

// numbersTOML lists the units whose numbers differ from base.
func numbersTOML(windows []SuggestedWindow, numbers, base []int64) (lines []string) {
	texts, differ := map[Unit][]string{}, map[Unit]bool{}
	for j, w := range windows {
		texts[w.Unit] = append(texts[w.Unit], fmt.Sprintf(`"%d/%s"`, numbers[j], w.Window))
		differ[w.Unit] = differ[w.Unit] || base == nil || numbers[j] != base[j]
	}
	for _, u := range slices.Sorted(maps.Keys(texts)) {
		if differ[u] {
			lines = append(lines, fmt.Sprintf("%s = [%s]", u, strings.Join(texts[u], ", ")))
		}
	}
	return lines
}

func highestWords(windows []SuggestedWindow) string {
	words := make([]string, len(windows))
	for i, w := range windows {
		words[i] = fmt.Sprintf("%d %s in %s", w.Highest, w.Unit, w.Window)
	}
	return strings.Join(words, ", ")
}

// tomlString writes a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
