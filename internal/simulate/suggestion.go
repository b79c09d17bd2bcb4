package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/text"
	"postern/ratelimit"
)

// Suggestion writes limits from what has been found.
type Suggestion struct {
	Found *Demands
	// Headroom is the factor from the highest use to the limit, from 1 on.
	Headroom float64
	// Listed is how many of the busiest get numbers of their own where they need
	// more than the others.
	Listed int
}

// Write writes them as a configuration has them, with what they rest on.
func (s *Suggestion) Write(w io.Writer) {
	r := s.Found.Report
	if r.Replayed == 0 {
		fmt.Fprintln(w, "# The journal holds no mail that limits would count.")
		return
	}
	fmt.Fprintf(w, "# From %s of %s to %s UTC, with %g times the highest use, rounded up.\n",
		transactions(r.Transactions), day(r.From), day(r.To), s.Headroom)
	fmt.Fprintln(w, "# Mail that a limit refused then is counted as if it had passed; what the upstream deferred was given back.")
	if longest := s.longest(); r.To.Sub(r.From) < longest {
		fmt.Fprintf(w, "# The journal is shorter than %s: the numbers of that window may be too small.\n", ratelimit.FormatWindow(longest))
	}
	if s.Found.More > 0 {
		fmt.Fprintln(w, "# There were more senders than memory for them; the busiest may be missing.")
	}
	s.limit(w, "client", ratelimit.PerClient, s.Found.Clients)
	s.limit(w, "sender", ratelimit.PerSender, s.Found.Senders)
}

func (s *Suggestion) longest() (d time.Duration) {
	for _, w := range s.Found.Windows {
		d = max(d, w.Length)
	}
	return d
}

func (s *Suggestion) limit(w io.Writer, name string, per ratelimit.Dimension, uses []Uses) {
	p := propose(uses, s.Headroom, s.Listed)
	fmt.Fprintf(w, "\n[limit.%s]\n", name)
	if rest := len(uses) - s.Listed; rest > 0 {
		fmt.Fprintf(w, "# Enough for the %d %ss that are not among the %d busiest.\n", rest, name, s.Listed)
	} else {
		fmt.Fprintf(w, "# The median need of a %s in the journal; it also applies to those that are not in it.\n", name)
	}
	fmt.Fprintf(w, "per = %q\n", per)
	for _, line := range s.numbers(p.Base) {
		fmt.Fprintln(w, line)
	}
	s.overrides(w, name, per, uses, p)
}

// overrides writes a line for each of the busiest: numbers where it needs more
// than the base, else only what it used.
func (s *Suggestion) overrides(w io.Writer, name string, per ratelimit.Dimension, uses []Uses, p Proposal) {
	fmt.Fprintf(w, "\n[limit.%s.overrides]\n", name)
	own := map[string][]int64{}
	for _, o := range p.Overrides {
		own[o.Name] = o.Numbers
	}
	for i := range uses[:min(s.Listed, len(uses))] {
		u := &uses[i]
		fmt.Fprintf(w, "# %s: %s\n", phrase.Printable(u.Name), highestUse(u))
		numbers := own[u.Name]
		if numbers == nil {
			continue
		}
		line := fmt.Sprintf("%s = { %s }", overrideKey(per, u.Name), strings.Join(s.numbers(numbers), ", "))
		if err := compiles(per, u.Name); err != nil {
			fmt.Fprintf(w, "# cannot be named in an override: %s\n", phrase.Printable(err.Error()))
			line = "# " + line
		}
		fmt.Fprintln(w, line)
	}
}

// numbers are the lines of each unit.
func (s *Suggestion) numbers(numbers []int64) (lines []string) {
	var unit ratelimit.Unit
	var texts []string
	flush := func() {
		if len(texts) > 0 {
			lines = append(lines, fmt.Sprintf("%s = [%s]", unit, strings.Join(texts, ", ")))
		}
		texts = nil
	}
	for i, w := range s.Found.Windows {
		if w.Unit != unit {
			flush()
			unit = w.Unit
		}
		n := fmt.Sprint(numbers[i])
		if unit == ratelimit.Bytes {
			n = text.FormatSize(roundSize(numbers[i]))
		}
		texts = append(texts, fmt.Sprintf("%q", n+"/"+ratelimit.FormatWindow(w.Length)))
	}
	flush()
	return lines
}

// roundSize goes up to whole KiB, and from 10 MiB on to whole MiB.
func roundSize(n int64) int64 {
	unit := int64(1 << 10)
	if n > 10<<20 {
		unit = 1 << 20
	}
	return (n + unit - 1) / unit * unit
}

func highestUse(u *Uses) string {
	var b strings.Builder
	var unit ratelimit.Unit
	for i := range u.Peaks {
		p := &u.Peaks[i]
		if i == 0 || p.Unit != unit {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s", p.Unit.Words())
			unit = p.Unit
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d in %s (%s)", p.Used, p.Window, day(p.Time))
	}
	return b.String()
}

// overrideKey names a client or sender as a key of TOML. One with "=" in it
// says what it is, or its head would be taken for that.
func overrideKey(per ratelimit.Dimension, name string) string {
	return tomlKey(overrideName(per, name))
}

func overrideName(per ratelimit.Dimension, name string) string {
	if strings.Contains(name, "=") {
		return per.String() + "=" + name
	}
	return name
}

// compiles says why a limit cannot have an override of this name.
func compiles(per ratelimit.Dimension, name string) error {
	one := ratelimit.Numbers{{N: 1, Window: ratelimit.MinWindow}}
	_, err := ratelimit.Compile(map[string]ratelimit.RuleConfig{per.String(): {
		Per: ratelimit.Per{per}, Messages: one,
		Overrides: map[string]ratelimit.Override{overrideName(per, name): {Messages: one}},
	}}, ratelimit.Env{Parse: config.ParseAddress})
	return err
}

// tomlKey writes a quoted key of TOML, whose escapes are those of JSON.
func tomlKey(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s) // a string is always encoded
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007F`)
}

// JSON has the highest use of every client and sender, with the number that
// would be its own.
func (s *Suggestion) JSON() any {
	type window struct {
		Use
		Limit int64 `json:"limit"`
	}
	type one struct {
		Name    string   `json:"name"`
		Windows []window `json:"windows"`
	}
	list := func(uses []Uses) []one {
		all := make([]one, 0, len(uses))
		for i := range uses {
			o := one{Name: uses[i].Name}
			for j := range uses[i].Peaks {
				p := &uses[i].Peaks[j]
				o.Windows = append(o.Windows, window{*p, need(p, s.Headroom)})
			}
			all = append(all, o)
		}
		return all
	}
	r := s.Found.Report
	return map[string]any{
		"from": r.From, "to": r.To, "transactions": r.Transactions, "headroom": s.Headroom,
		"clients": list(s.Found.Clients), "senders": list(s.Found.Senders),
	}
}
