package vote

import "slices"

// Reply is what is known of a refusal.
type Reply struct {
	Stage  string   // command that it answers (connect, ehlo, mail, rcpt, data, dot), "" when unknown
	Code   string   // reply code, such as "550"
	Status string   // enhanced status code (RFC 3463), such as "5.7.1"; "" when there is none
	Text   string   // in lower case, without code and status; capitals are words for masked parts
	Marks  []string // what its masked parts say, such as "zone-of-domains"
}

// maxWords bounds how many words and how many concepts of a text are weighed.
const maxWords = 128

// token is a hash (FNV-1a) of the name of a token, such as "pair:ip+list".
type token uint64

const (
	hashStart token = 14695981039346656037
	hashPrime token = 1099511628211
)

func (h token) with(s string) token {
	for i := range len(s) {
		h = (h ^ token(s[i])) * hashPrime
	}
	return h
}

func (h token) withBytes(s []byte) token {
	for _, c := range s {
		h = (h ^ token(c)) * hashPrime
	}
	return h
}

// hashOf is the number of a token of that name.
func hashOf(name string) token { return hashStart.with(name) }

// reader takes a reply apart. It can be used again; not by two at a time.
type reader struct {
	plain  []byte
	tokens []token          // some of them several times
	names  map[token]string // nil: not wanted
	speaks bool             // of anything, in words or by its status code
	sign   bool             // of reputation or complaints
	fault  bool             // of trouble of the receiver
	seen   []uint64         // rows of a model, a bit for each
}

// emit adds the token "kind:a" or "kind:a+b".
func (r *reader) emit(kind, a, b string) {
	h := hashStart.with(kind).with(":").with(a)
	if b != "" {
		h = h.with("+").with(b)
	}
	r.tokens = append(r.tokens, h)
	if r.names != nil {
		name := kind + ":" + a
		if b != "" {
			name += "+" + b
		}
		r.names[h] = name
	}
}

func (r *reader) read(m *Reply) {
	r.tokens, r.speaks, r.sign, r.fault = r.tokens[:0], false, false, false
	r.plain = appendPlain(r.plain[:0], m.Text)
	class := "?"
	if m.Code != "" {
		class = m.Code[:1]
	}
	r.emit("all", "replies", "")
	r.codes(m, class)
	r.words()
	r.concepts(m.Stage, class)
}

func (r *reader) codes(m *Reply, class string) {
	r.emit("code", m.Code, "")
	r.emit("code", class, "")
	r.emit("stage", m.Stage, "")
	r.emit("stage", m.Stage, class)
	for _, mark := range m.Marks {
		r.emit("mark", mark, "")
		r.emit("mark", mark, m.Stage)
	}
	if len(m.Status) < 3 {
		r.emit("status", "none", "")
		return
	}
	detail := m.Status[2:] // without the class, as in 7.1
	for _, meaning := range builtInLexicon().status[detail] {
		r.emit("means", meaning, "")
		r.emit("means", meaning, class)
		r.speaks = r.speaks || meaning != "refuse"
	}
	r.emit("status", m.Status, "")
	r.emit("status", detail, "")
	r.emit("status", detail[:1], "")
}

// words are those of one script; digits in them count as one and the same, and
// as themselves in those that look like the mark of a provider.
func (r *reader) words() {
	var digits [maxWord]byte
	for i, n := 0, 0; i < len(r.plain) && n < maxWords; n++ {
		for i < len(r.plain) && r.plain[i] == ' ' {
			i++
		}
		begin := i
		for i < len(r.plain) && r.plain[i] != ' ' {
			i++
		}
		w := r.plain[begin:i]
		if len(w) == 0 || len(w) > maxWord || w[0] >= firstWide || w[0] == '|' {
			continue
		}
		word, mark := withoutDigits(digits[:0], w)
		r.emitBytes("word", word)
		if mark {
			r.emitBytes("mark", w)
		}
	}
}

// maxWord is how long a word may be; longer ones are not words.
const maxWord = 30

func (r *reader) emitBytes(kind string, w []byte) {
	h := hashStart.with(kind).with(":").withBytes(w)
	r.tokens = append(r.tokens, h)
	if r.names != nil {
		r.names[h] = kind + ":" + string(w)
	}
}

// withoutDigits writes # for each run of digits. mark reports whether letters
// stand beside them.
func withoutDigits(out, w []byte) (word []byte, mark bool) {
	digits, letters := false, false
	for i, c := range w {
		if c < '0' || c > '9' {
			letters = true
			out = append(out, c)
			continue
		}
		digits = true
		if i == 0 || w[i-1] < '0' || w[i-1] > '9' {
			out = append(out, '#')
		}
	}
	return out, digits && letters
}

// pairDistance is how many concepts apart two may stand that make a pair.
const pairDistance = 4

func (r *reader) concepts(stage, class string) {
	l := builtInLexicon()
	var before [pairDistance][]uint8
	for i, n := 0, 0; i < len(r.plain) && n < maxWords; {
		switch r.plain[i] {
		case ' ':
			i++
			continue
		case '|':
			before = [pairDistance][]uint8{}
			i++
			continue
		}
		set, length := l.find(r.plain[i:])
		if length == 0 {
			i += wordLength(r.plain[i:])
			continue
		}
		n++
		for _, c := range set {
			r.concept(l, c, stage, class)
			for _, near := range before {
				for _, b := range near {
					r.emit("pair", l.concepts[b], l.concepts[c])
				}
			}
		}
		copy(before[1:], before[:pairDistance-1])
		before[0] = set
		i += length
	}
}

func (r *reader) concept(l *lexicon, c uint8, stage, class string) {
	name := l.concepts[c]
	r.emit("concept", name, "")
	r.emit("concept", name, class)
	r.emit("concept", name, stage)
	r.speaks = r.speaks || !slices.Contains(silent[:], name)
	r.sign = r.sign || name == "reputation" || name == "complaint"
	r.fault = r.fault || slices.Contains(trouble[:], name)
}

// silent are concepts that mean nothing by themselves: receivers repeat the address, the
// host or the link that they were given in replies of every class.
var silent = [...]string{"negation", "ADDR", "IP", "HOST", "URL"}

// trouble are concepts of a receiver that cannot look, or looks at something else.
var trouble = [...]string{"lookup", "timeout", "temporary", "later", "busy", "policy", "network"}

// wordLength is how many octets belong to the first word of text.
func wordLength(text []byte) int {
	n := 1
	for n < len(text) && !endsWord(text, n) {
		n++
	}
	return n
}
