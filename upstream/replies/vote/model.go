package vote

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"postern/mail"
)

//go:embed weights.txt
var weightsText string

// BuiltIn is the model that is compiled in. It is read at its first use.
var BuiltIn = sync.OnceValue(func() *Model {
	m, err := parseModel(weightsText)
	if err != nil {
		panic("vote: built-in weights: " + err.Error())
	}
	return m
})

// Model weighs the tokens of a reply for each class. It never changes, and may be
// used by several goroutines.
type Model struct {
	classes []mail.Class
	index   map[token]int32 // of rows
	rows    [][]float32     // a weight for each class
	names   []string        // of tokens
	readers sync.Pool       // of *reader
}

// Token is a part of a reply with how much it spoke for the class against the
// second best.
type Token struct {
	Name   string  `json:"token"`
	Weight float64 `json:"weight"`
}

// Shown is how many tokens a verdict names.
const Shown = 4

// Estimate is what the model says of a reply.
type Estimate struct {
	Class  mail.Class   // where nothing is sure enough: mail.ClassTemporaryFault for a 4yz reply, else mail.ClassOther
	Guess  mail.Class   // the likeliest class
	Sure   float64      // how likely Guess is, from 0 to 1
	Tokens [Shown]Token // what weighed most, largest first; unused ones have no name
	Sign   bool         // speaks of reputation or complaints
	Fault  bool         // speaks of look-ups, time-outs, policy or "later": the receiver may be in trouble
}

// SureEnough is how likely a class must be to count. Of the guesses below it a third are
// right, on sources that the model has not seen; of those from there to 0.3 two thirds.
const SureEnough = 0.2

// sureListed is how likely it must be that an address is listed: likelier than all
// else together, for to hear of a listing that is none costs more than to take one
// for another refusal.
const sureListed = 0.5

// Weigh says what a refusal means. It takes time linear in the text.
func (m *Model) Weigh(reply *Reply) Estimate {
	r, _ := m.readers.Get().(*reader)
	if r == nil {
		r = &reader{}
	}
	defer m.readers.Put(r)
	r.read(reply)
	var p [maxClasses]float64
	rows := m.sum(r, p[:len(m.classes)])
	best, second := m.best(p[:len(m.classes)])
	v := Estimate{Class: m.classes[best], Guess: m.classes[best], Sure: p[best], Sign: r.sign, Fault: r.fault}
	if !r.speaks {
		v.Sure = 0 // code and stage alone decide nothing
	}
	if v.Sure < SureEnough {
		v.Class = mail.ClassOther
		if strings.HasPrefix(reply.Code, "4") {
			v.Class = mail.ClassTemporaryFault // RFC 5321 s. 4.2.1: the same may be tried again
		}
	}
	v.Tokens = m.top(rows, best, second)
	return v
}

// maxClasses bounds the classes of a model.
const maxClasses = 32

// sum writes the likelihood of each class to p. It returns the rows of the tokens
// of r, each once.
func (m *Model) sum(r *reader, p []float64) []int32 {
	rows := m.known(r)
	scale := 1 / math.Sqrt(float64(max(len(rows), 1)))
	for _, i := range rows {
		for c, w := range m.rows[i] {
			p[c] += float64(w)
		}
	}
	for c := range p {
		p[c] *= scale
	}
	softmax(p)
	return rows
}

// known returns the rows of the tokens, each once.
func (m *Model) known(r *reader) []int32 {
	if n := (len(m.rows) + 63) / 64; len(r.seen) != n {
		r.seen = make([]uint64, n)
	}
	clear(r.seen)
	rows := make([]int32, 0, 128)
	for _, t := range r.tokens {
		i, ok := m.index[t]
		if ok && r.seen[i/64]&(1<<(i%64)) == 0 {
			r.seen[i/64] |= 1 << (i % 64)
			rows = append(rows, i)
		}
	}
	return rows
}

func softmax(x []float64) {
	top := slices.Max(x)
	sum := 0.0
	for i := range x {
		x[i] = math.Exp(x[i] - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// best returns the likeliest class and the next one. An address is listed only
// where that is sure.
func (m *Model) best(p []float64) (best, second int) {
	best, second = -1, -1
	for i := range p {
		switch {
		case best < 0 || p[i] > p[best]:
			best, second = i, best
		case second < 0 || p[i] > p[second]:
			second = i
		}
	}
	if m.classes[best] == mail.ClassListedIP && p[best] < sureListed {
		return second, best
	}
	return best, second
}

// top returns the tokens that spoke most for class best against second.
func (m *Model) top(rows []int32, best, second int) (top [Shown]Token) {
	scale := 1 / math.Sqrt(float64(max(len(rows), 1)))
	for _, i := range rows {
		t := Token{m.names[i], float64(m.rows[i][best]-m.rows[i][second]) * scale}
		for at := range top {
			if t.Weight > top[at].Weight {
				t, top[at] = top[at], t
			}
		}
	}
	return top
}

// parseModel reads the text form: "classes" with their names on the first line
// that is not a comment, then a token and its weights on each, in hundredths.
func parseModel(text string) (*Model, error) {
	m := &Model{index: map[token]int32{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
			continue
		case m.classes == nil:
			if f[0] != "classes" || len(f) < 3 || len(f) > maxClasses {
				return nil, fmt.Errorf("%q names no classes", f[0])
			}
			for _, c := range f[1:] {
				m.classes = append(m.classes, mail.Class(c))
			}
			continue
		case len(f) != len(m.classes)+1:
			return nil, fmt.Errorf("token %q has %d weights for %d classes", f[0], len(f)-1, len(m.classes))
		}
		row := make([]float32, len(m.classes))
		for i, s := range f[1:] {
			n, err := strconv.ParseInt(s, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("token %q: %w", f[0], err)
			}
			row[i] = float32(n) / 100
		}
		m.index[hashOf(f[0])] = int32(len(m.rows))
		m.rows, m.names = append(m.rows, row), append(m.names, f[0])
	}
	if m.classes == nil {
		return nil, errors.New("there are no classes")
	}
	return m, nil
}

// String is the text form, that of weights.txt.
func (m *Model) String() string {
	var b strings.Builder
	b.WriteString("classes")
	for _, c := range m.classes {
		b.WriteString(" " + string(c))
	}
	order := make([]int, len(m.names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(m.names[a], m.names[b]) })
	for _, i := range order {
		b.WriteString("\n" + m.names[i])
		for _, w := range m.rows[i] {
			fmt.Fprintf(&b, " %d", int(math.Round(float64(w)*100)))
		}
	}
	b.WriteString("\n")
	return b.String()
}
