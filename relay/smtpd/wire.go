package smtpd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	commandBuffer = 1 << 10 // held by every connection; grows to maxCommand on need
	maxCommand    = 2048    // octets of a command line with its CR LF
	// maxDropped is how much of a line over maxCommand is read and dropped before
	// the connection is closed instead.
	maxDropped = 1 << 20
	bodyBuffer = 64 << 10
)

var (
	errLineTooLong = errors.New("command line over 2,048 octets")
	errLineEndless = errors.New("command line goes on far beyond 2,048 octets")
	errBareLF      = errors.New("command line holds a bare LF or a bare CR")
	errHiddenChunk = errors.New("command line hides BDAT behind a bare LF or CR")
)

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, bodyBuffer); return &b }}

// wire is the client's side of a session: command lines in, replies out.
// Replies gather in out until the next read has to wait, so that those to
// pipelined commands leave in one write (RFC 2920 s. 3.1).
type wire struct {
	conn net.Conn
	buf  []byte // buf[r:w] has been read and not yet used
	r, w int
	out  []byte

	skipping bool // what comes up to the next CR LF is not a command
	skipped  int  // octets of that

	ends lineEnds // as the first line has shown
	// mayEndInLF says whether lines may end in LF alone, where the first one does; nil:
	// never.
	mayEndInLF func() bool

	// While a message is read buf is a large one from the pool, and small keeps
	// its place.
	large *[]byte
	small []byte

	writeTimeout time.Duration
	writeBy      time.Time // the deadline that writes have; zero: another
}

// lineEnds is what ends all command lines of a session.
type lineEnds uint8

const (
	endsUnknown lineEnds = iota
	endsCRLF
	endsLF
)

// lateness is how much later than asked a deadline may be, so that one serves
// several steps of a quick dialog: setting it costs as much as a short step.
const lateness = 20 * time.Millisecond

// serves reports whether a deadline that is set will do where at is wanted.
func serves(set, at time.Time) bool { return !set.Before(at) && set.Sub(at) <= lateness }

func newWire(conn net.Conn, writeTimeout time.Duration) wire {
	return wire{conn: conn, buf: make([]byte, commandBuffer), writeTimeout: writeTimeout}
}

// buffered reports how many octets have been read and not yet used.
func (w *wire) buffered() int { return w.w - w.r }

// flush sends what replies have gathered.
func (w *wire) flush() error { return w.flushAt(time.Now()) }

// flushAt is flush for a caller that has just looked at the clock.
func (w *wire) flushAt(now time.Time) error {
	if len(w.out) == 0 {
		return nil
	}
	if at := now.Add(w.writeTimeout); !serves(w.writeBy, at) {
		w.writeBy = at.Add(lateness)
		w.conn.SetWriteDeadline(w.writeBy)
	}
	_, err := w.conn.Write(w.out)
	if cap(w.out) > 4<<10 {
		w.out = nil
	}
	w.out = w.out[:0]
	return err
}

// fill reads more octets behind those still unused. The caller has set the
// read deadline.
func (w *wire) fill() error {
	if w.r > 0 {
		copy(w.buf, w.buf[w.r:w.w])
		w.w -= w.r
		w.r = 0
	}
	if w.w == len(w.buf) {
		return io.ErrShortBuffer
	}
	n, err := w.conn.Read(w.buf[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// nextLine returns the next command line without its CR LF when the whole of
// it has been read already; ok is false when more octets are needed. The line
// is valid until the next fill. Beside an error it is the beginning of a line
// that is not a command up to its CR LF, wherever an LF stands before that. In a
// session of lines that end in LF alone the line ends there, and one that holds a CR
// is an error.
func (w *wire) nextLine() (line []byte, ok bool, err error) {
	have := w.buf[w.r:w.w]
	i := bytes.IndexByte(have, '\n')
	switch {
	case i < 0 && len(have) < maxCommand:
		return nil, false, nil
	case i < 0:
		w.ends = max(w.ends, endsCRLF)
		w.skipping = true
		return have, true, errLineTooLong
	case (i == 0 || have[i-1] != '\r') && w.takesLF():
		w.r += i + 1
		line = have[:i]
	case i == 0 || have[i-1] != '\r':
		w.ends = max(w.ends, endsCRLF)
		w.r += i // the LF belongs to what is skipped
		w.skipping = true
		return have[:i], true, errBareLF
	default:
		w.ends = max(w.ends, endsCRLF)
		w.r += i + 1
		if line = have[:i-1]; w.ends == endsLF {
			line = have[:i] // with the CR, which has no place there
		}
	}
	switch {
	case i+1 > maxCommand:
		return line, true, errLineTooLong
	case bytes.IndexByte(line, '\r') >= 0:
		return line, true, errBareLF
	}
	return line, true, nil
}

// takesLF reports whether a line may end in LF alone: all others of the session have
// done so, and the client may.
func (w *wire) takesLF() bool {
	if w.ends == endsCRLF || w.mayEndInLF == nil || !w.mayEndInLF() {
		return false
	}
	w.ends = endsLF
	return true
}

// skip drops the rest of a line that nextLine found an error in, up to and
// including its CR LF; done is false when more octets are needed.
func (w *wire) skip() (done bool, err error) {
	rest := w.buf[w.r:w.w]
	end := bytes.Index(rest, crlf)
	if end >= 0 {
		rest = rest[:end]
	}
	if hidesChunk(rest) {
		return false, errHiddenChunk
	}
	if end >= 0 {
		w.r += end + len(crlf)
		w.skipping, w.skipped = false, 0
		return true, nil
	}
	// The CR of the end, or the beginning of what hidesChunk looks for, may be
	// the last that has come.
	const seam = len("\nBDA")
	if n := len(rest) - seam; n > 0 {
		w.r += n
		w.skipped += n
	}
	if w.skipped > maxDropped {
		return false, errLineEndless
	}
	return false, nil
}

// hidesChunk reports whether BDAT stands behind a bare CR or LF. Whoever takes
// that for the end of a line sends a chunk behind it, which must not be read as
// commands.
func hidesChunk(line []byte) bool {
	for {
		i := bytes.IndexAny(line, "\r\n")
		if i < 0 {
			return false
		}
		if line = line[i+1:]; startsChunk(line) {
			return true
		}
	}
}

// startsChunk reports whether a line begins with BDAT.
func startsChunk(line []byte) bool { return len(line) >= 4 && equalFold(line[:4], "BDAT") }

// readLine waits for a whole command line. more is called to read further
// octets. Beside errLineTooLong and errBareLF the line is its beginning; the
// rest of it is dropped by the next call.
func (w *wire) readLine(more func() error) ([]byte, error) {
	for {
		ready := !w.skipping
		if w.skipping {
			var err error
			if ready, err = w.skip(); err != nil {
				return nil, err
			}
		}
		if ready {
			if line, ok, err := w.nextLine(); ok {
				return line, err
			}
		}
		if w.buffered() == len(w.buf) {
			w.grow(maxCommand)
		}
		if err := more(); err != nil {
			return nil, err
		}
	}
}

// peekLine reports the next command line without using it up, when the whole
// of it is there and well formed.
func (w *wire) peekLine() ([]byte, bool) {
	r := w.r
	line, ok, err := w.nextLine()
	w.r, w.skipping = r, false
	return line, ok && err == nil
}

func (w *wire) grow(size int) {
	if len(w.buf) >= size {
		return
	}
	w.swap(make([]byte, size))
}

// widen makes the read buffer a large one.
func (w *wire) widen() {
	if w.large == nil {
		w.large = bodyBuffers.Get().(*[]byte)
		w.small = w.swap(*w.large)
	}
}

// narrow gives the large buffer back, unless it still holds commands that the
// client has pipelined behind a message.
func (w *wire) narrow() {
	if w.large != nil && w.buffered() <= len(w.small) {
		w.swap(w.small)
		bodyBuffers.Put(w.large)
		w.large, w.small = nil, nil
	}
}

// swap makes buf the read buffer and returns the one before; octets still
// unused move over. buf must have room for them.
func (w *wire) swap(buf []byte) []byte {
	old := w.buf
	w.w = copy(buf, old[w.r:w.w])
	w.r = 0
	w.buf = buf
	return old
}

func equalFold(b []byte, s string) bool { return len(b) == len(s) && strings.EqualFold(string(b), s) }
