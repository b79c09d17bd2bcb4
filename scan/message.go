package scan

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Message is what scanners are told. They read Content at the same time, and none changes
// it.
type Message struct {
	ID       string // of the transaction
	Client   string // configured client
	Stream   string
	User     string // SASL user; "" without AUTH
	IP       netip.Addr
	Helo     string
	Hostname string   // ours
	From     string   // reverse-path without brackets; "" for null
	To       []string // forward-paths without brackets
	Content  Content
	Canary   bool // a test message of our own
}

// Content is a message as it will leave, without trace fields and signatures. It belongs to
// the caller and is read in place.
type Content struct {
	Head     []byte   // the header with the empty line behind it
	Chunks   [][]byte // the beginning of the body
	File     io.ReaderAt
	FileSize int64 // the octets of the body that follow Chunks, at the start of File
}

// Size is the length of the whole in octets.
func (c *Content) Size() int64 {
	n := int64(len(c.Head)) + c.FileSize
	for _, b := range c.Chunks {
		n += int64(len(b))
	}
	return n
}

// Body reads what follows the header, from its start.
func (c *Content) Body() io.Reader { return c.reader(nil) }

// Reader reads the whole, from its start.
func (c *Content) Reader() io.Reader { return c.reader(c.Head) }

func (c *Content) reader(head []byte) io.Reader {
	rs := make([]io.Reader, 0, len(c.Chunks)+2)
	rs = append(rs, bytes.NewReader(head))
	for _, b := range c.Chunks {
		rs = append(rs, bytes.NewReader(b))
	}
	if c.File != nil {
		rs = append(rs, c.rest())
	}
	return io.MultiReader(rs...)
}

// pieces are before, and the part of the message that is in memory.
func (c *Content) pieces(before ...[]byte) net.Buffers {
	list := make(net.Buffers, 0, len(before)+len(c.Chunks)+2)
	return append(append(append(list, before...), c.Head), c.Chunks...)
}

// rest is what follows in File, which must be there.
func (c *Content) rest() io.Reader { return io.NewSectionReader(c.File, 0, c.FileSize) }

type digest = [sha256.Size]byte

// digest is the SHA-256 of the whole.
func (c *Content) digest() (d digest, err error) {
	h := sha256.New()
	for _, b := range c.pieces() {
		h.Write(b)
	}
	if c.File != nil {
		_, err = io.Copy(h, c.rest())
	}
	h.Sum(d[:0])
	return d, err
}

// about is the SHA-256 of all that a verdict may rest on: the content and whose
// it is.
func (m *Message) about() (d digest, err error) {
	d, err = m.Content.digest()
	h := sha256.New()
	h.Write(d[:])
	for _, s := range append([]string{m.Client, m.Stream, m.User, m.From}, m.To...) {
		io.WriteString(h, s)
		h.Write([]byte{0})
	}
	h.Sum(d[:0])
	return d, err
}

// needs reports whether a scanner is to see mail of a client and stream.
func (c *Config) needs(client, stream string) bool {
	return (len(c.Clients) == 0 || slices.Contains(c.Clients, client)) &&
		(len(c.Streams) == 0 || slices.Contains(c.Streams, stream))
}

// clean makes text of a scanner fit for a reply and a log: printable ASCII on
// one line, no addresses of others, at most limit octets.
func clean(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f:
			return '?'
		}
		return r
	}, s)
	if len(s) > limit {
		s = s[:limit]
	}
	return s
}

// reason is text of a scanner for a reply: clean, without addresses.
func reason(s string) string {
	words := strings.Fields(clean(s, 400))
	for i, w := range words {
		if strings.Contains(w, "@") {
			words[i] = "(address)"
		}
	}
	return clean(strings.Join(words, " "), 200)
}
