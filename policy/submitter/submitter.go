// Package submitter reads out of a message who handed it to the MTA that hands it to
// us: the mailbox or the script inside a client's mail.
//
// Behind a smarthost such as Postfix every message comes from one client, and the
// password that was stolen is that of one mailbox of many. The MTA knows which: it can
// write "(Authenticated sender: anna)" into its Received line, add a field such as
// X-AuthUser, or tell the address of its own client by XFORWARD. What it says is a
// hint. A hint narrows what a message counts for, and never decides who may send.
//
// What stands in a header may have been written by anybody below the MTA. So a
// Received line counts only where it is the topmost one and its "by" names the MTA
// itself, and not at all where the MTA has lately handed in mail without one (see
// [Marks]): then the topmost line is the sender's own. A name that is missing, stands
// there twice, is over [MaxName] octets or is not one word is no name.
package submitter

import (
	"iter"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/mail"
)

// MaxName is how many octets the name of a mailbox or script may have.
const MaxName = 256

// Hint is what a message says of its submitter. The zero value says nothing.
type Hint struct {
	// Name is the name of the client, "/", and the mailbox or script in the one form
	// of a mail.User; "" where there is none. Two clients never share a name.
	Name string
	// Addr is from where the submitter has connected to the MTA; invalid where that
	// is not known.
	Addr netip.Addr
	// Doubt says in plain words why there is no Name although a source is asked for
	// one; "" where there is a Name, and where only the network is asked for.
	Doubt string
	// Unmarked: the topmost Received line is not the client's own, so that what
	// stands there is the word of somebody else.
	Unmarked bool
}

// join is the name of what client calls name.
func join(client, name string) string { return client + "/" + name }

// Reader finds the hint in the mail of one client. It never changes and may be used
// by many goroutines at once.
type Reader struct {
	client   string
	parse    func(string) (mail.Address, error)
	sources  []source
	by       []string
	received bool
	forward  bool
	hidden   []string
}

// New makes a reader for the client of that name; nil where cfg has no source. cfg must
// have passed Check. parse reads "local@domain", as for mail.User.
func New(client string, cfg Config, parse func(string) (mail.Address, error)) *Reader {
	if len(cfg.Submitter) == 0 {
		return nil
	}
	r := &Reader{client: client, parse: parse, by: cfg.SubmitterBy}
	for _, text := range cfg.Submitter {
		s, err := text.parse()
		if err != nil {
			continue // Check has told
		}
		r.sources = append(r.sources, s)
		r.received = r.received || s.kind == fromReceived
		r.forward = r.forward || s.kind == fromXForward
		if s.kind == fromHeader && cfg.HideSubmitter {
			r.hidden = append(r.hidden, s.field)
		}
	}
	return r
}

// XForward reports whether the client may tell the address of its own client by
// XFORWARD.
func (r *Reader) XForward() bool { return r != nil && r.forward }

// Hidden returns the names of the fields that are taken out before the message leaves.
func (r *Reader) Hidden() []string {
	if r == nil {
		return nil
	}
	return r.hidden
}

// Asked is what Reader.Read needs to know of the session that a message came by.
type Asked struct {
	// EHLO is the name in the client's EHLO or HELO.
	EHLO string
	// Forwarded is the address that XFORWARD has told; invalid where it has not.
	Forwarded netip.Addr
	// Doubted: this host has lately handed in mail without a line of its own, so that
	// no Received line of it is believed.
	Doubted bool
}

// Read finds the hint in the fields of a header, each with its name and body, the
// topmost first. The first source with a name is the one that counts.
func (r *Reader) Read(fields iter.Seq2[[]byte, []byte], asked Asked) (h Hint) {
	top, named := r.collect(fields)
	line := r.line(top, &asked)
	h.Unmarked = r.received && !line.ours
	for i := range r.sources {
		s := &r.sources[i]
		name, doubt := "", ""
		switch s.kind {
		case fromReceived:
			name, doubt = line.name, line.doubt
		case fromHeader:
			name, doubt = s.named(named[i])
		case fromXForward:
			if !h.Addr.IsValid() {
				h.Addr = network(asked.Forwarded)
			}
			continue
		}
		if doubt == "" && h.Name == "" {
			h.Name = join(r.client, mail.User(name, r.parse))
		}
		if h.Doubt == "" {
			h.Doubt = doubt
		}
	}
	if !h.Addr.IsValid() {
		h.Addr = line.addr
	}
	if h.Name != "" {
		h.Doubt = ""
	}
	return h
}

// found are the fields of one name: how many, and the first.
type found struct {
	n    int
	body []byte
}

// collect gives the topmost Received line, and for each source what it is about.
func (r *Reader) collect(fields iter.Seq2[[]byte, []byte]) (top []byte, named []found) {
	named = make([]found, len(r.sources))
	for name, body := range fields {
		if top == nil && is(name, "Received") {
			top = body
		}
		for i := range r.sources {
			if s := &r.sources[i]; s.kind == fromHeader && is(name, s.field) {
				if named[i].n++; named[i].n == 1 {
					named[i].body = body
				}
			}
		}
	}
	return top, named
}

// reading is what the topmost Received line says.
type reading struct {
	ours  bool
	name  string
	doubt string // why there is no name
	addr  netip.Addr
}

// line reads the topmost Received line, nil where there is none.
func (r *Reader) line(top []byte, asked *Asked) (l reading) {
	if !r.received {
		return reading{}
	}
	if top == nil {
		return reading{doubt: "no Received line"}
	}
	t, ok := parseTrace(top)
	if !ok || !r.wrote(t.by, asked.EHLO) {
		return reading{doubt: "the topmost Received line is not by the client's name"}
	}
	l.ours = true
	if asked.Doubted {
		l.doubt = "this host has lately handed in mail without a Received line of its own"
		return l
	}
	l.addr = network(t.addr())
	name, n := t.submitter()
	switch {
	case n == 0:
		l.doubt = "no submitter in the Received line"
	case n > 1:
		l.doubt = "several submitters in the Received line"
	default:
		l.name, l.doubt = believable(name)
	}
	return l
}

// wrote reports whether the name behind "by" is one of the client's own.
func (r *Reader) wrote(by, ehlo string) bool {
	if by == "" {
		return false
	}
	if strings.EqualFold(by, ehlo) {
		return true
	}
	for _, name := range r.by {
		if strings.EqualFold(by, name) {
			return true
		}
	}
	return false
}

// named is the name that a field gives, or why it gives none.
func (s *source) named(f found) (name, doubt string) {
	switch {
	case f.n == 0:
		return "", "no field " + s.field
	case f.n > 1:
		return "", "several fields " + s.field
	case len(f.body) > maxLine:
		return "", "the field " + s.field + " is too long"
	}
	text := unfold(f.body)
	if s.pattern != nil {
		m := s.pattern.FindStringSubmatch(text)
		if m == nil {
			return "", "the field " + s.field + " does not match its pattern"
		}
		text = m[1]
	}
	return believable(text)
}

// believable takes angle brackets off a name, and says why it is none.
func believable(name string) (_, doubt string) {
	name = strings.TrimSpace(name)
	if inner, ok := strings.CutPrefix(name, "<"); ok && strings.HasSuffix(inner, ">") {
		name = inner[:len(inner)-1]
	}
	switch {
	case name == "":
		return "", "the name of the submitter is empty"
	case len(name) > MaxName:
		return "", "the name of the submitter is too long"
	case !utf8.ValidString(name), strings.ContainsFunc(name, odd):
		return "", "the name of the submitter is not one word"
	}
	return name, ""
}

// odd reports whether a character has no place in a name.
func odd(r rune) bool {
	return !unicode.IsPrint(r) || unicode.IsSpace(r) || strings.ContainsRune(`<>",;`, r)
}

// network is an address that says where somebody is; that of the MTA itself does not.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}
	}
	return a
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

// unfold puts a body on one line (RFC 5322 s. 2.2.3).
func unfold(body []byte) string { return strings.TrimSpace(ends.Replace(string(body))) }

var ends = strings.NewReplacer("\r\n", "", "\n", "")

// kind is where a source looks.
type kind uint8

const (
	fromReceived kind = iota
	fromHeader
	fromXForward
)

// source is an entry of the key.
type source struct {
	kind    kind
	field   string         // of fromHeader
	pattern *regexp.Regexp // of fromHeader: what of the field is the name; nil: all
}
