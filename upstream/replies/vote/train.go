package vote

import (
	"math"
	"math/rand/v2"
	"slices"

	"postern/mail"
)

// Example is a refusal whose class is known.
type Example struct {
	Reply Reply
	Class mail.Class
	Also  []mail.Class // classes that are as good
}

// How a model is trained. None of these moves the measured accuracy by more than a
// percent.
const (
	epochs    = 30
	rate      = 0.3   // of AdaGrad
	decay     = 0.001 // of weights, for each example
	minCount  = 2     // replies in which a token must occur
	alsoShare = 0.8   // of the weight of an example that is dealt among its classes
)

// Train finds weights by which the examples are told apart: multinomial logistic
// regression. Rare classes count more. The same examples in the same order give
// the same model.
func Train(examples []Example) *Model {
	t := newTrainer(examples)
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range epochs {
		random.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
		for _, i := range order {
			t.step(i)
		}
	}
	return t.model
}

type trainer struct {
	model    *Model
	examples []Example
	weights  []float64   // of the examples
	rows     [][]int32   // of their tokens
	squares  [][]float32 // sums of the squares of all steps, as AdaGrad needs them
	p, want  []float64
}

func newTrainer(examples []Example) *trainer {
	t := &trainer{model: &Model{index: map[token]int32{}}, examples: examples, rows: make([][]int32, len(examples))}
	count := map[mail.Class]int{}
	for i := range examples {
		count[examples[i].Class]++
	}
	for c := range count {
		t.model.classes = append(t.model.classes, c)
	}
	slices.Sort(t.model.classes)
	classes := len(t.model.classes)
	for i := range examples {
		t.weights = append(t.weights, math.Sqrt(float64(len(examples))/float64(classes*count[examples[i].Class])))
	}
	t.p, t.want = make([]float64, classes), make([]float64, classes)
	t.findTokens()
	for range t.model.rows {
		row := make([]float32, classes)
		for c := range row {
			row[c] = 0.01
		}
		t.squares = append(t.squares, row)
	}
	return t
}

// findTokens gives each token that occurs often enough a row.
func (t *trainer) findTokens() {
	r := reader{names: map[token]string{}}
	all := make([][]token, len(t.examples))
	count := map[token]int{}
	for i := range t.examples {
		r.read(&t.examples[i].Reply)
		tokens := slices.Clone(r.tokens)
		slices.Sort(tokens)
		all[i] = slices.Compact(tokens)
		for _, x := range all[i] {
			count[x]++
		}
	}
	m := t.model
	for i, tokens := range all {
		for _, x := range tokens {
			if count[x] < minCount {
				continue
			}
			row, ok := m.index[x]
			if !ok {
				row = int32(len(m.rows))
				m.index[x] = row
				m.rows = append(m.rows, make([]float32, len(m.classes)))
				m.names = append(m.names, r.names[x])
			}
			t.rows[i] = append(t.rows[i], row)
		}
	}
}

// step moves the weights of the tokens of one example.
func (t *trainer) step(i int) {
	m, rows := t.model, t.rows[i]
	scale := 1 / math.Sqrt(float64(max(len(rows), 1)))
	clear(t.p)
	for _, j := range rows {
		for c, w := range m.rows[j] {
			t.p[c] += float64(w) * scale
		}
	}
	softmax(t.p)
	t.aim(&t.examples[i])
	for c := range t.p {
		t.p[c] = (t.p[c] - t.want[c]) * t.weights[i] * scale
	}
	for _, j := range rows {
		w, squares := m.rows[j], t.squares[j]
		for c := range w {
			d := float32(t.p[c]) + decay*w[c]
			squares[c] += d * d
			w[c] -= rate * d / float32(math.Sqrt(float64(squares[c])))
		}
	}
}

// aim sets how likely each class should be: where several are right, their own
// class keeps a part, and the rest goes to all by what the model thinks.
func (t *trainer) aim(e *Example) {
	clear(t.want)
	own, _ := slices.BinarySearch(t.model.classes, e.Class)
	t.want[own] = 1
	sum := t.p[own]
	for _, a := range e.Also {
		if i, ok := slices.BinarySearch(t.model.classes, a); ok {
			sum += t.p[i]
		}
	}
	for _, a := range e.Also {
		if i, ok := slices.BinarySearch(t.model.classes, a); ok {
			t.want[i] = alsoShare * t.p[i] / sum
			t.want[own] -= t.want[i]
		}
	}
}
