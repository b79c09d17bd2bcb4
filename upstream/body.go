package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"postern/upstream/content"
)

// Sizes of writes.
const (
	directSize = 2 << 10   // from here a piece is written from where it lies
	arenaSize  = 64 << 10  // of what is gathered: smaller pieces, under TLS all
	groupSize  = 256 << 10 // of one write, about
	maxPieces  = 512       // of one write; the system takes 1,024
)

// bodyWriter writes one body in few large writes, and its end together with
// what goes before it: an end in a segment of its own costs 40 ms at some hosts.
type bodyWriter struct {
	ctx    context.Context
	c      *conn
	all    [][]byte    // to be written, in order
	bufs   net.Buffers // all, while it is being written
	arena  []byte      // octets of the gathered pieces among all
	joined int         // where in arena the last of all begins; -1: it is not there
	size   int         // octets in all
	unseen int         // octets written since the host was last looked at
	begun  bool        // a write has begun
	last   bool        // the write that completes the message has begun
}

var bodyWriters = sync.Pool{New: func() any { return new(bodyWriter) }}

func newBodyWriter(ctx context.Context, c *conn) *bodyWriter {
	w := bodyWriters.Get().(*bodyWriter)
	w.ctx, w.c, w.unseen, w.begun, w.last = ctx, c, 0, false, false
	w.empty()
	return w
}

func (w *bodyWriter) release() {
	w.empty()
	w.ctx, w.c = nil, nil
	bodyWriters.Put(w)
}

func (w *bodyWriter) empty() {
	clear(w.all)
	w.all, w.arena, w.joined, w.size = w.all[:0], w.arena[:0], -1, 0
}

// add appends p, which must stay as it is until the next flush.
func (w *bodyWriter) add(p []byte) error {
	for len(p) > 0 {
		if w.size >= groupSize || len(w.all) >= maxPieces || len(w.arena) >= arenaSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n := min(len(p), groupSize-w.size)
		if len(p) >= directSize && w.c.tls == "" {
			w.all, w.joined = append(w.all, p[:n]), -1
			w.size += n
		} else {
			n = min(n, arenaSize-len(w.arena))
			w.gather(p[:n])
		}
		p = p[n:]
	}
	return nil
}

// gather appends a copy of p.
func (w *bodyWriter) gather(p []byte) {
	if w.joined < 0 {
		w.joined = len(w.arena)
		w.all = append(w.all, nil)
	}
	w.arena = append(w.arena, p...)
	w.all[len(w.all)-1] = w.arena[w.joined:]
	w.size += len(p)
}

// flush writes all in one write.
func (w *bodyWriter) flush() (err error) { return w.write(false) }

// write is flush; with last, what is written completes the message. Nothing is
// due from the host before that: what it has said nevertheless is not its verdict.
func (w *bodyWriter) write(last bool) (err error) {
	if err := w.begin(last); err != nil {
		return err
	}
	if len(w.all) == 1 {
		_, err = w.c.net.Write(w.all[0])
	} else {
		w.bufs = w.all
		_, err = w.bufs.WriteTo(w.c.net)
		w.bufs = nil
	}
	w.unseen += w.size
	w.empty()
	return err
}

// begin comes before each write. The error is errAnew while nothing has been
// written.
func (w *bodyWriter) begin(last bool) error {
	if err := w.c.arm(w.ctx, w.c.h.cfg.DataTimeout, writes); err != nil {
		return err
	}
	if err := w.heard(last); err != nil {
		return err
	}
	w.begun, w.last = true, last
	return nil
}

// checkEvery is how many octets of a body are written, about, from one check of
// the host to the next. A check sooner would spare little of a body that has been
// refused in its middle; the one that counts is that before the last write.
const checkEvery = 1 << 20

// heard is the error of a host that has said something, or has gone. The first
// write stands directly behind the reply to DATA or to the first chunk.
func (w *bodyWriter) heard(last bool) error {
	switch {
	case !w.begun:
		if err := w.c.judge(w.c.behind(), "before the message"); err != nil {
			return fmt.Errorf("%w: %w", errAnew, err)
		}
	case last || w.unseen >= checkEvery:
		w.unseen = 0
		return w.c.unread()
	}
	return nil
}

// stuffed writes the content as DATA wants it (RFC 5321 s. 4.5.2).
func (w *bodyWriter) stuffed(body *Content) error {
	lineStart := true
	return body.Pieces(func(p []byte, kept, last bool) error {
		var err error
		if lineStart, err = w.stuff(p, lineStart); err != nil {
			return err
		}
		if !last {
			return w.done(kept)
		}
		if !lineStart {
			w.gather([]byte("\r\n"))
		}
		w.gather([]byte(".\r\n"))
		return w.write(true)
	})
}

// stuff adds p with every dot doubled that begins a line; lineStart says whether
// p begins one, and after p the result does.
func (w *bodyWriter) stuff(p []byte, lineStart bool) (bool, error) {
	if len(p) == 0 {
		return lineStart, nil
	}
	if lineStart && p[0] == '.' {
		w.gather([]byte{'.'})
	}
	from := 0
	for i := 0; ; i++ {
		// Dots are rarer than line ends, in base64 there is none.
		j := bytes.IndexByte(p[i:], '.')
		if j < 0 {
			break
		}
		if i += j; i == 0 || p[i-1] != '\n' {
			continue
		}
		if err := w.add(p[from:i]); err != nil {
			return false, err
		}
		w.gather([]byte{'.'})
		from = i
	}
	return p[len(p)-1] == '\n', w.add(p[from:])
}

// done ends a piece that is not the last: one that will not stay is written.
func (w *bodyWriter) done(kept bool) error {
	if kept || w.c.tls != "" {
		return nil
	}
	return w.flush()
}

// chunk writes the content as one BDAT LAST (RFC 3030 s. 2), and next behind it.
func (w *bodyWriter) chunk(body *Content, next string) error {
	w.gather([]byte("BDAT "))
	w.arena = strconv.AppendInt(w.arena, body.Total(), 10)
	w.gather([]byte(" LAST\r\n"))
	tcp, ok := w.c.net.(*net.TCPConn)
	if ok && body.File != nil && !body.Shared && body.FileSize > body.FileAt() {
		if err := w.sendFile(tcp, body); err != nil {
			return err
		}
		// Should the host have hung up, its verdict is there to be read.
		w.c.net.Write([]byte(next))
		return nil
	}
	return body.Pieces(func(p []byte, kept, last bool) error {
		if err := w.add(p); err != nil {
			return err
		}
		if last {
			w.gather([]byte(next))
			return w.write(true)
		}
		return w.done(kept)
	})
}

// sendFile lets the kernel copy the file.
func (w *bodyWriter) sendFile(tcp *net.TCPConn, body *Content) error {
	head := Content{Prefix: body.Prefix, Chunks: body.Chunks}
	if err := head.Pieces(func(p []byte, _, _ bool) error { return w.add(p) }); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := body.File.Seek(body.FileAt(), io.SeekStart); err != nil {
		return fmt.Errorf("%w: %w", content.ErrRead, err)
	}
	for left := body.FileSize - body.FileAt(); left > 0; {
		n, err := w.copy(tcp, body.File, min(left, groupSize), left <= groupSize)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func (w *bodyWriter) copy(tcp *net.TCPConn, f *os.File, n int64, last bool) (int64, error) {
	if err := w.begin(last); err != nil {
		return 0, err
	}
	got, err := tcp.ReadFrom(&io.LimitedReader{R: f, N: n})
	w.unseen += int(got)
	if err == nil && got < n {
		w.last = false
		err = fmt.Errorf("%w: %w", content.ErrRead, io.ErrUnexpectedEOF)
	}
	return got, err
}
