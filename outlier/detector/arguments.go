package detector

import (
	"fmt"
	"math"
	"strings"
	"time"
)

var kindNames = [kinds]string{"sent", "new", "refused"}
var windowNames = [windows]string{"1h", "24h", "days"}

// Arguments are the arithmetic of a score.
type Arguments struct {
	Score       float64 `json:"score"`
	Sensitivity float64 `json:"sensitivity"`
	Ease        float64 `json:"ease"` // divides the score of who is new; else 1
	// Early: its client is so new that volume alone is not an alarm before the score that
	// throttles.
	Early bool       `json:"early,omitempty"`
	Alone bool       `json:"alone,omitempty"` // the only sender of its client
	Parts []Argument `json:"parts"`           // of sent, new and refused recipients
	// Newcomer are the recipients never seen before in 1 h of a new sender whose score
	// they alone make, 1 for each eleven; 0 of others, and where Parts give more. The sixth
	// root of Sensitivity multiplies it.
	Newcomer float64 `json:"newcomer,omitempty"`
	// Lasting is the arithmetic of the lasting record where that alone makes the score.
	Lasting *Lasting  `json:"lasting,omitempty"`
	Regular []Regular `json:"regular,omitempty"`
}

// Regular is mail that comes again and again, and is not evidence while it is as
// large as usual.
type Regular struct {
	Recipients float64   `json:"recipients"` // most in 24 hours
	New        float64   `json:"new"`        // of them, never seen before
	Last       time.Time `json:"last"`       // day on which it came last
	Days       int       `json:"days"`       // fewest between two of them; 0: there was one
}

// regular lists the runs that have come again.
func (f *Finding) regular() (all []Regular) {
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

// Lasting is the score by the lasting record of recipients never seen before,
// ln((Now + Pad) / (Usual + Pad)) / ln(Times).
type Lasting struct {
	Window string  `json:"window"`
	Now    float64 `json:"now"`
	Record float64 `json:"record"` // the most that it ever was
	Usual  float64 `json:"usual"`  // that, or what everybody is granted, or what is expected
	Pad    float64 `json:"pad"`
	Times  float64 `json:"times"`
}

func (l *Lasting) write(b *strings.Builder, score, sensitivity float64) {
	fmt.Fprintf(b, "score %.2f = ln((%.1f + %g) / (%.1f + %g)) / ln %g x sensitivity %g, of recipients never seen before in %s against the most that\nit ever wrote to in that time (%.1f); more than the ",
		score, l.Now, l.Pad, l.Usual, l.Pad, l.Times, sensitivity, l.Window, l.Record)
}

func (d *Detector) arguments(f *Finding) *Arguments {
	s := f.scale
	a := &Arguments{
		Score: float64(f.Score), Sensitivity: float64(d.tuning.sensitivity), Ease: float64(f.e.ease(s)), Alone: s == &aloneScale,
		Regular: f.regular(), Early: d.Early(f),
	}
	switch f.by {
	case byNewcomer:
		a.Newcomer = float64(f.sums[fresh][hour])
	case byLasting:
		w := f.lastingWindow
		a.Lasting = &Lasting{
			Window: windowNames[w], Now: float64(f.sums[fresh][w]), Record: float64(f.e.lasting[w]), Usual: float64(f.lastingUsual(w)),
			Pad: float64(lastingScale[w].pad), Times: float64(lastingScale[w].times),
		}
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

// sum is the score by all evidence.
func (a *Arguments) sum() float64 {
	if a.Newcomer == 0 && a.Lasting == nil {
		return a.Score
	}
	sum := 0.0
	for _, p := range a.Parts {
		sum += p.Value
	}
	return sum * a.Sensitivity / a.Ease
}

// String writes the arithmetic in lines.
func (a *Arguments) String() string {
	var b strings.Builder
	if a.Newcomer > 0 {
		fmt.Fprintf(&b, "score %.2f: a new sender wrote to %.1f recipients never seen before in 1h, and %.3g are an alarm; it counts %d at most, and\nmore than the ",
			a.Score, a.Newcomer, newcomerStrangers/math.Pow(a.Sensitivity, 1.0/6), newcomerMost)
	}
	if l := a.Lasting; l != nil {
		l.write(&b, a.Score, a.Sensitivity)
	}
	values := make([]string, len(a.Parts))
	for i, p := range a.Parts {
		values[i] = fmt.Sprintf("%s %.2f", p.Kind, p.Value)
	}
	fmt.Fprintf(&b, "score %.2f = (%s) x sensitivity %g", a.sum(), strings.Join(values, " + "), a.Sensitivity)
	if a.Ease > 1 {
		fmt.Fprintf(&b, " / %.2f, as it is new", a.Ease)
	}
	b.WriteString("; an alarm from 1 on\n")
	if a.Alone {
		fmt.Fprintf(&b, "its client has no other sender, so that refused recipients count %d times\n", aloneTimes)
	}
	if a.Early {
		fmt.Fprintf(&b, "its client has been known for less than %d days: recipients never seen before\ncount by the hour more than by the day, and without refused recipients there is no alarm before the score that throttles\n", earlyDays)
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
