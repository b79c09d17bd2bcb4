package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Each asks every scanner that a message needs and waits for all of them: none
// ends the others, those in shadow are waited for, too, and nothing is remembered
// or known from before. The verdicts are in the order of the names.
func (set *Set) Each(ctx context.Context, m *Message) []Response {
	if set == nil {
		return nil
	}
	var needed []*Scanner
	for _, s := range set.scanners {
		if s.cfg.needs(m.Client, m.Stream) {
			needed = append(needed, s)
		}
	}
	list := make([]Response, len(needed))
	var tasks sync.WaitGroup
	for i, s := range needed {
		tasks.Go(func() { list[i] = s.once(ctx, m) })
	}
	tasks.Wait()
	return list
}

// Deciding is the verdict of a list that ends the message: the first refusal, else
// the first deferral; nil when it goes on.
func Deciding(list []Response) (v *Response) {
	for i := range list {
		switch {
		case list[i].Choice == Refuse:
			return &list[i]
		case list[i].Choice == Defer && v == nil:
			v = &list[i]
		}
	}
	return v
}

// once asks about a message by itself.
func (s *Scanner) once(ctx context.Context, m *Message) Response {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var v Response
	var err error
	switch {
	case m.Content.Size() > s.cfg.MaxSize:
		v.Class = TooLarge
	case !s.usable():
		err = errors.New("scanner is down: " + s.State().Why)
	default:
		v, err = s.ask(ctx, m)
	}
	if err != nil {
		v = Response{Class: Fault, Err: err}
	}
	s.cfg.choose(&v)
	v.Scanner, v.Took = s.name, time.Since(began)
	return v
}

// Trial is one test message of an examination.
type Trial struct {
	// What is "clean" (a harmless message), "largest" (one of max_size with the
	// canary in it, or a harmless one where there is none), "nested" (EICAR many
	// archives deep), or the canary.
	What  string
	Class Class // of the answer; "" without one
	Text  string
	Err   error // why it is not as it should be; nil when all is well
	Took  time.Duration
}

// Examined is what one scanner says of itself and of test messages.
type Examined struct {
	Name, Kind string
	Config     Config
	Version    Version
	Err        error // it cannot be asked at all
	Trials     []Trial
	// Connections is how many an ICAP service takes at one time; 0: it does not
	// say, or there is no such number.
	Connections int
}

// Examine asks each scanner for its version and shows it test messages, one after
// the other: the canaries, a harmless one, one as large as max_size and one that is
// nested deeply. It ends with ctx.
func (set *Set) Examine(ctx context.Context) []Examined {
	list := make([]Examined, len(set.scanners))
	for i, s := range set.scanners {
		list[i] = s.examine(ctx)
	}
	return list
}

func (s *Scanner) examine(ctx context.Context) Examined {
	kind, _ := s.cfg.kind()
	x := Examined{Name: s.name, Kind: kind, Config: s.cfg}
	if x.Version, x.Err = s.version(ctx); x.Err != nil {
		return x
	}
	if c, ok := s.asker.(*icap); ok {
		x.Connections = c.offered.Load().connections
	}
	for _, what := range s.canaries() {
		began := time.Now()
		err := s.canary(ctx, what)
		x.Trials = append(x.Trials, Trial{What: what, Err: err, Took: time.Since(began)})
		if err != nil {
			return x // the rest would say the same
		}
	}
	x.Trials = append(x.Trials, s.tryClean(ctx))
	if s.cfg.MaxSize >= leastLarge {
		x.Trials = append(x.Trials, s.tryLargest(ctx))
	}
	if kind == "clamd" || kind == "icap" {
		x.Trials = append(x.Trials, s.tryNested(ctx))
	}
	return x
}

// try shows one message; judge says what is wrong with the answer.
func (s *Scanner) try(ctx context.Context, what string, m *Message, judge func(Class) error) Trial {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	t := Trial{What: what}
	began := time.Now()
	v, err := s.ask(ctx, m)
	t.Class, t.Text, t.Took = v.Class, v.Text, time.Since(began)
	if t.Err = err; err == nil {
		t.Err = judge(v.Class)
	}
	return t
}

// tryClean shows a harmless message as mail, so that it takes what all mail takes,
// such as require_symbols.
func (s *Scanner) tryClean(ctx context.Context) Trial {
	m := canaryMessage(s.hostname, "This is a test message. Nothing is wrong with it.", nil, "")
	m.Canary = false
	return s.try(ctx, "clean", m, func(c Class) error {
		if c != Clean {
			return fmt.Errorf("a harmless message is called %s", c)
		}
		return nil
	})
}

// leastLarge is from which max_size on a large message can be made.
const leastLarge = 64 << 10

func (s *Scanner) tryLargest(ctx context.Context) Trial {
	what := s.canaries()[0]
	return s.try(ctx, "largest", largeMessage(s.hostname, what, s.cfg.MaxSize), func(c Class) error {
		switch {
		case what == canaryAnswer || c == Spam || c == Virus || c == Policy:
			return nil
		case c == Clean:
			return errors.New("the canary in it was called clean: so large a message is not looked at")
		}
		return fmt.Errorf("it is called %s", c)
	})
}

// nesting is deeper than scanners look with their defaults.
const nesting = 25

func (s *Scanner) tryNested(ctx context.Context) Trial {
	content, name := []byte(eicar()), "test.com"
	for range nesting {
		content, name = zipOf(name, content), "inner.zip"
	}
	m := canaryMessage(s.hostname, "The archive attached is nested deeply.", content, "outer.zip")
	return s.try(ctx, "nested", m, func(c Class) error {
		if c == Clean {
			return fmt.Errorf("a virus %d archives deep is called clean", nesting)
		}
		return nil
	})
}

func zipOf(name string, content []byte) []byte {
	b := new(bytes.Buffer)
	w := zip.NewWriter(b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// largeMessage is a test message of nearly so many octets. What is to be found
// stands in its first part, where text is looked for, or in its last one, where a
// scanner must have come to the end.
func largeMessage(hostname, finds string, size int64) *Message {
	text, attached := canaryText(finds)
	if finds == canaryAnswer {
		text = "This is a test message. Nothing is wrong with it."
	}
	if attached == nil {
		attached = []byte("nothing")
	}
	m := canaryMessage(hostname, text, attached, "test.com")
	last := bytes.LastIndex(m.Content.Chunks[0], []byte("--canary\r\n"))
	before, after := m.Content.Chunks[0][:last], m.Content.Chunks[0][last:]
	head := []byte("--canary\r\nContent-Type: application/octet-stream; name=\"zeros\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := base64.StdEncoding.EncodeToString(make([]byte, 57)) + "\r\n"
	left := size - m.Content.Size() - int64(len(head))
	filler := []byte(strings.Repeat(line, int(max(0, left)/int64(len(line)))))
	m.Content.Chunks = [][]byte{before, head, filler, after}
	return m
}
