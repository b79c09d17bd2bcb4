// Package arithmetic writes out how a score of the watch came about.
//
// A score is a sum of evidence: for what was sent, for recipients never seen before and for
// refused ones, each compared with what is usual. Who asks why somebody raised an alarm gets
// the numbers that went into the sum, so that they can be checked with a pocket calculator. The
// types here are also what the API gives as JSON.
package arithmetic

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Constants of the rules that the text names.
const (
	// NewcomerStrangers are the recipients never seen before within an hour that make a
	// new sender's first alarm, NewcomerMost what that rule can give.
	NewcomerStrangers, NewcomerMost = 11, 2
	// EarlyDays are those of a client in which volume alone is not a mere alarm.
	EarlyDays = 20
	// BentBy is the part that counts of evidence beyond Part.Bend.
	BentBy = 0.15
	// AloneTimes is how many times as much refusals count of a client's only sender.
	AloneTimes = 4
)

// Score is how a score came about. An alarm begins at 1.
type Score struct {
	Value       float64 `json:"score"`
	Sensitivity float64 `json:"sensitivity"`
	Ease        float64 `json:"ease"` // divides the score of who is new; else 1
	// Early: its client is so new that volume alone is not an alarm before the score that
	// throttles.
	Early bool   `json:"early,omitempty"`
	Alone bool   `json:"alone,omitempty"` // the only sender of its client
	Parts []Part `json:"parts"`           // of sent, new and refused recipients
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

// Part is the evidence of one kind: that of its strongest window,
// (Now - Usual) / (Width + Slope * Usual), of which beyond Bend only 15 % count, at
// most Most.
type Part struct {
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

// sum is the score by all evidence.
func (a *Score) sum() float64 {
	if a.Newcomer == 0 && a.Lasting == nil {
		return a.Value
	}
	sum := 0.0
	for _, p := range a.Parts {
		sum += p.Value
	}
	return sum * a.Sensitivity / a.Ease
}

// String writes the arithmetic in lines.
func (a *Score) String() string {
	var b strings.Builder
	if a.Newcomer > 0 {
		fmt.Fprintf(&b, "score %.2f: a new sender wrote to %.1f recipients never seen before in 1h, and %.3g are an alarm; it counts %d at most, and\nmore than the ",
			a.Value, a.Newcomer, NewcomerStrangers/math.Pow(a.Sensitivity, 1.0/6), NewcomerMost)
	}
	if l := a.Lasting; l != nil {
		l.write(&b, a.Value, a.Sensitivity)
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
		fmt.Fprintf(&b, "its client has no other sender, so that refused recipients count %d times\n", AloneTimes)
	}
	if a.Early {
		fmt.Fprintf(&b, "its client has been known for less than %d days: recipients never seen before\ncount by the hour more than by the day, and without refused recipients there is no alarm before the score that throttles\n", EarlyDays)
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

func (p *Part) write(b *strings.Builder) {
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
		fmt.Fprintf(b, ", of which %.2f and %.0f %% of the rest count while it is new: %.2f", p.Bend, 100*BentBy, p.Value)
	}
	b.WriteByte('\n')
}
