// Package content holds a message on its way to a next hop: octets that stand in
// memory and, where it is large, in a file, read one piece after the other and never
// gathered.
package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Content is a message as it shall leave: Prefix, Chunks, then File from its
// start, FileSize octets. Lines end in CR LF, with no other CR or LF; nothing is
// dot-stuffed. The last line may lack its end; DATA then adds it.
type Content struct {
	Prefix   []byte
	Chunks   [][]byte
	File     *os.File
	FileSize int64
	Size     int64 // of all; 0: to be added up
	Shared   bool  // File is read by others at the same time
	fileAt   int64 // octets of File that have left already
}

// Total is the number of octets of all parts, whatever Size says.
func (b *Content) Total() int64 {
	n := int64(len(b.Prefix))
	for _, c := range b.Chunks {
		n += int64(len(c))
	}
	if b.File != nil {
		n += b.FileSize - b.fileAt
	}
	return n
}

// CutFirst returns the first octet and the content that follows it; b must not be empty.
func (b *Content) CutFirst() (first byte, rest Content, err error) {
	rest = *b
	if len(b.Prefix) > 0 {
		rest.Prefix = b.Prefix[1:]
		return b.Prefix[0], rest, nil
	}
	for i, c := range b.Chunks {
		if len(c) > 0 {
			rest.Prefix, rest.Chunks = c[1:], b.Chunks[i+1:]
			return c[0], rest, nil
		}
	}
	var one [1]byte
	if _, err := b.File.ReadAt(one[:], 0); err != nil {
		return 0, rest, fmt.Errorf("%w: %w", ErrRead, err)
	}
	rest.fileAt = 1
	return one[0], rest, nil
}

// ErrRead is wrapped by the errors of a File that cannot be read or holds fewer than
// FileSize octets.
var ErrRead = errors.New("read message")

// blockSize of what is read from a file at a time.
const blockSize = 64 << 10

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// Pieces calls f for the octets in order; last marks the last call. A piece that
// came from the file is valid until f returns. There is at least one call.
func (b *Content) Pieces(f func(p []byte, kept, last bool) error) error {
	from, end := int64(0), int64(0)
	if b.File != nil {
		from, end = b.fileAt, b.FileSize
	}
	if err := f(b.Prefix, true, len(b.Chunks) == 0 && from == end); err != nil {
		return err
	}
	for i, c := range b.Chunks {
		if err := f(c, true, i == len(b.Chunks)-1 && from == end); err != nil {
			return err
		}
	}
	if from == end {
		return nil
	}
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	for at := from; at < end; {
		p := block[:min(blockSize, end-at)]
		if n, err := b.File.ReadAt(p, at); n < len(p) {
			return fmt.Errorf("%w: %w", ErrRead, err)
		}
		at += int64(len(p))
		if err := f(p, false, at == end); err != nil {
			return err
		}
	}
	return nil
}

// EightBit reports whether the content has an octet beyond ASCII; with header
// it looks no further than the header.
func (b *Content) EightBit(header bool) (found bool, err error) {
	tail := [3]byte{'?', '\r', '\n'} // the last octets so far
	err = b.Pieces(func(p []byte, _, _ bool) error {
		if header {
			if end := headerEnd(tail, p); end >= 0 {
				found = found || !ascii(p[:end])
				return io.EOF
			}
			for i := max(0, len(p)-3); i < len(p); i++ {
				tail = [3]byte{tail[1], tail[2], p[i]}
			}
		}
		if !ascii(p) {
			found = true
			return io.EOF
		}
		return nil
	})
	if err == io.EOF {
		err = nil
	}
	return found, err
}

// headerEnd is where in p the header ends, -1 when it does not; tail are the
// three octets before p.
func headerEnd(tail [3]byte, p []byte) int {
	for i := range min(3, len(p)) {
		joint := append(tail[i:len(tail):len(tail)], p[:i+1]...)
		if string(joint) == "\r\n\r\n" {
			return i + 1
		}
	}
	if i := bytes.Index(p, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// FileAt is the offset in File from which on its octets belong to the content; over 0 only
// after CutFirst.
func (b *Content) FileAt() int64 { return b.fileAt }

func ascii(p []byte) bool {
	for len(p) >= 8 {
		if (p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7])&0x80 != 0 {
			return false
		}
		p = p[8:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
