package parts

import (
	"errors"
	"hash/maphash"
	"io"
	"sync"
)

// Bounds of one message.
const (
	maxParts     = 1000
	maxDepth     = 20
	maxNested    = 8         // encoded messages in encoded messages
	maxHeader    = 64 << 10  // octets of Content fields in a part
	maxHeaders   = 256 << 10 // octets of unfinished fields in all
	maxFields    = 32        // Content fields in a part
	maxBoundary  = 512       // octets
	maxWork      = 2 << 20   // octets of names in all
	maxValue     = 2 << 10   // octets of a name
	maxCharsets  = 256       // names in charsets that have to be converted
	maxPrefixes  = 100_000   // lines that may begin with a boundary
	maxText      = 256 << 10 // octets of text in a part
	readBuffer   = 64 << 10
	maxHeldLine  = 1 << 10 // octets of a line that are kept until it ends
	maxUnpacked  = 256 << 10
	maxTextTotal = 2 << 20
)

// Want says what to look for.
type Want struct {
	// Refused are the attachments to look for. Nil: none.
	Refused *RefusedNames
	// Encrypted: look for encrypted archives and documents.
	Encrypted bool
	// Text is given the text of each part that has some, decoded from its transfer
	// encoding and cut after 256 KiB. It must not keep t.Octets. Nil: nobody is.
	Text func(t *Text)
}

// Text is that of one part.
type Text struct {
	HTML    bool
	Charset string // as the part names it; "" for none
	Octets  []byte
}

// Report is what was found. The walk ends at the first attachment that is refused
// or encrypted.
type Report struct {
	Parts int
	// Refused is the entry of the rules that something matches; "" for none.
	Refused string
	// Name is that of the attachment, in its archive where it lies in one; "" where
	// its kind was seen in its first octets.
	Name string
	// Encrypted is the kind of an encrypted archive or document, such as "zip"; ""
	// for none.
	Encrypted string
	// Ambiguous says why the message can be read in two ways; "" where it cannot.
	Ambiguous string
	// TextLeft: there was more text than is looked at.
	TextLeft bool
}

// Walker walks messages. The zero value is ready, and its methods may be called at
// the same time; it keeps buffers for the next message.
type Walker struct{ walks sync.Pool }

// Walk reads a message, header and body, from r. The error is one of r.
func (k *Walker) Walk(r io.Reader, want Want) (Report, error) {
	w, ok := k.walks.Get().(*walk)
	if !ok {
		w = &walk{buffer: make([]byte, readBuffer), seed: maphash.MakeSeed()}
	}
	defer k.walks.Put(w)
	w.reset()
	w.want = want
	l := w.newLevel(0, 0)
	l.message()
	for !w.over() {
		n, err := r.Read(w.buffer)
		l.write(w.buffer[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Report{}, err
		}
	}
	l.end()
	return w.report, nil
}

// walk is what the levels of one message share. It is used again for the next
// message.
type walk struct {
	want   Want
	report Report
	buffer []byte
	seed   maphash.Seed

	stopped                  bool
	mail, html, signed       bool // a name of the part that begins says so
	work, charsets, prefixes int
	held                     int // octets of fields that have not ended
	textUsed                 int
	levels                   []*level // free
	files                    []*file  // free
	text                     []byte
	fold, plain, joined      []byte // the readings of a field
	pieces                   []piece
	name                     scratch
}

// scratch holds the forms of one name.
type scratch struct{ words, data, decoded, percent, form, folded []byte }

// reset forgets the message.
func (w *walk) reset() {
	w.want, w.report = Want{}, Report{}
	w.stopped, w.work, w.charsets, w.prefixes, w.held, w.textUsed = false, 0, 0, 0, 0, 0
}

// over reports whether what decides has been found.
func (w *walk) over() bool { return w.stopped || w.report.Refused != "" || w.report.Encrypted != "" }

// stop ends the walk where going on would take too long.
func (w *walk) stop(why string) {
	w.ambiguous(why)
	w.stopped = true
}

// ambiguous notes the first reason for which a message can be read in two ways.
func (w *walk) ambiguous(why string) {
	if w.report.Ambiguous == "" {
		w.report.Ambiguous = why
	}
}

// encrypted notes an archive or document that is.
func (w *walk) encrypted(kind string) {
	if w.want.Encrypted && !w.over() {
		w.report.Encrypted = kind
	}
}

// kind notes what the octets of an attachment are.
func (w *walk) kind(kind string) {
	if w.over() {
		return
	}
	if entry, ok := w.want.Refused.kind(kind); ok {
		w.report.Refused = entry
	}
}

func (w *walk) newLevel(depth, nested int) *level {
	var l *level
	if n := len(w.levels); n > 0 {
		l, w.levels = w.levels[n-1], w.levels[:n-1]
	} else {
		l = &level{bounds: map[uint64]int{}}
	}
	clear(l.bounds)
	*l = level{w: w, nested: nested, line: l.line[:0], field: l.field[:0], bounds: l.bounds, lengths: l.lengths[:0], atStart: true}
	l.part.depth = depth
	return l
}

func (w *walk) newFile() *file {
	var f *file
	if n := len(w.files); n > 0 {
		f, w.files = w.files[n-1], w.files[:n-1]
	} else {
		f = &file{window: make([]byte, 0, windowSize)}
	}
	f.reset(w)
	return f
}
