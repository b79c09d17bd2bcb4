package vote

import (
	_ "embed"
	"strings"
	"sync"
	"unicode/utf8"
)

//go:embed lexicon.txt
var lexiconText string

// lexicon finds concepts at the beginnings of words. It is a tree of octets.
type lexicon struct {
	nodes    []node
	sets     [][]uint8 // of concepts
	concepts []string
	status   map[string][]string // what enhanced codes mean, without their class
}

// node is one octet of an entry; its other octets at the same place hang on next.
type node struct {
	child, next int32
	exact, head int32 // of sets: for an entry that ends here, for one that goes on; 0 is none
	octet       byte
}

var builtInLexicon = sync.OnceValue(func() *lexicon { return newLexicon(lexiconText) })

// newLexicon reads lines "concept: entry, entry*, ...".
func newLexicon(text string) *lexicon {
	l := &lexicon{nodes: make([]node, 1, 1<<14), sets: make([][]uint8, 1), status: map[string][]string{}}
	number := map[string]uint8{}
	for line := range strings.Lines(text) {
		concept, entries, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(concept, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(concept, "status "); ok {
			for e := range strings.SplitSeq(entries, ",") {
				e = strings.TrimSpace(e)
				l.status[e] = append(l.status[e], name)
			}
			continue
		}
		n, known := number[concept]
		if !known {
			n = uint8(len(l.concepts))
			number[concept] = n
			l.concepts = append(l.concepts, concept)
		}
		for entry := range strings.SplitSeq(entries, ",") {
			entry, open := strings.CutSuffix(strings.TrimSpace(entry), "*")
			entry = strings.TrimSpace(string(appendPlain(nil, entry)))
			l.add(entry, open, n)
			if short := contracted.Replace(entry); short != entry {
				l.add(short, open, n)
			}
		}
	}
	return l
}

// contracted makes "doesnt" of "does not", as appendPlain does of "doesn't".
var contracted = strings.NewReplacer("does not ", "doesnt ", "do not ", "dont ", "did not ", "didnt ", "is not ", "isnt ", "are not ", "arent ",
	"was not ", "wasnt ", "has not ", "hasnt ", "have not ", "havent ", "will not ", "wont ", "cannot ", "cant ", "could not ", "couldnt ")

func (l *lexicon) add(entry string, open bool, concept uint8) {
	if entry == "" {
		return
	}
	at := int32(0)
	for i := range len(entry) {
		at = l.step(at, entry[i])
	}
	end := &l.nodes[at].exact
	if open {
		end = &l.nodes[at].head
	}
	if *end == 0 {
		*end = int32(len(l.sets))
		l.sets = append(l.sets, nil)
	}
	l.sets[*end] = append(l.sets[*end], concept)
}

// step goes to the child for an octet, and makes it where there is none.
func (l *lexicon) step(at int32, octet byte) int32 {
	if next := l.child(at, octet); next != 0 {
		return next
	}
	l.nodes = append(l.nodes, node{octet: octet, next: l.nodes[at].child})
	l.nodes[at].child = int32(len(l.nodes) - 1)
	return l.nodes[at].child
}

func (l *lexicon) child(at int32, octet byte) int32 {
	for i := l.nodes[at].child; i != 0; i = l.nodes[i].next {
		if l.nodes[i].octet == octet {
			return i
		}
	}
	return 0
}

// find returns the concepts of the longest entry at the front of text, which is
// plain, and how many octets belong to it; 0 where no entry is there. text goes
// on to the end of the last word.
func (l *lexicon) find(text []byte) (concepts []uint8, length int) {
	at, set := int32(0), int32(0)
	for i, c := range text {
		if at = l.child(at, c); at == 0 {
			break
		}
		n := &l.nodes[at]
		if n.head != 0 {
			set, length = n.head, i+1
		}
		if n.exact != 0 && endsWord(text, i+1) {
			set, length = n.exact, i+1
		}
	}
	if set == 0 {
		return nil, 0
	}
	for length < len(text) && !endsWord(text, length) {
		length++
	}
	return l.sets[set], length
}

// endsWord reports whether a word ends before text[i]; each letter of a script
// without blanks is one.
func endsWord(text []byte, i int) bool {
	return i == len(text) || text[i] == ' ' || text[i] >= firstWide && utf8.RuneStart(text[i])
}

// firstWide is the first octet of letters of scripts without blanks.
const firstWide = 0xe2
