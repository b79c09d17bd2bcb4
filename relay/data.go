package relay

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

const (
	// excess is how much of an oversized message is read and dropped before the
	// connection is closed instead.
	excess = 64 << 20
	// linger is how long a connection on which framing was lost is kept so that
	// the client can read the last reply.
	linger      = 10 * time.Second
	lingerBytes = 64 << 20
)

var (
	errBroken  = errors.New("framing of the message is in doubt")
	errTooMuch = errors.New("message goes on far beyond the size limit")
	errTooSlow = errors.New("message data below the least rate")
)

// data carries out DATA (RFC 5321 s. 4.1.1.4).
func (s *session) data() error {
	if s.tx == nil {
		return s.outOfPlace()
	}
	t := s.tx
	if r := t.ready(); r != nil {
		return s.notReady(t, r)
	}
	s.dataBegan = true
	s.reply(replyStartData())
	now := time.Now()
	in := t.intake(now, true)
	defer in.close()
	err := s.readMessage(now, in, func() (bool, error) {
		n, done := in.scan.feed(s.buf[s.r:s.w])
		s.r += n
		return done, nil
	})
	return s.endData(t, in, err)
}

// notReady answers DATA where no data can be taken.
func (s *session) notReady(t *transaction, r *mail.Reply) error {
	if !t.over {
		return s.fail(r)
	}
	return s.endTransaction(r)
}

// endData answers after the last octet, or closes where that cannot be told.
func (s *session) endData(t *transaction, in *intake, err error) error {
	switch {
	case errors.Is(err, errBroken):
		s.endTransaction(t.failed(mail.StageData, "newlines", in.scan.refusal))
		return s.lingerAndQuit()
	case errors.Is(err, errTooMuch):
		s.endTransaction(t.failed(mail.StageData, "size", replyTooLarge(t.snap.Message.MaxSize)))
		return s.lingerAndQuit()
	case errors.Is(err, errTooSlow):
		s.endTransaction(t.failed(mail.StageData, "min_rate", replyTooSlow()))
		return errQuit
	case err != nil:
		return err // the transaction is aborted with the session
	}
	in.end()
	if in.scan.broken {
		s.endTransaction(t.failed(mail.StageData, "newlines", in.scan.refusal))
		return s.lingerAndQuit()
	}
	return s.endTransaction(t.complete(in))
}

// endTransaction gives the last reply of a transaction that has been accounted
// for.
func (s *session) endTransaction(r *mail.Reply) error {
	t := s.tx
	s.tx, s.excused = nil, !r.Positive()
	if r.Positive() {
		s.idle = 0
		// An MTA that keeps its connection for long and has a few bad addresses
		// is not one that looks for addresses.
		s.refused = max(0, s.refused-len(t.accepted))
		s.errors = max(0, s.errors-1)
	}
	if r.Code == 421 {
		s.reply(r)
		return errQuit
	}
	if r.Positive() {
		s.reply(r)
		return nil
	}
	return s.refuse(r)
}

// readMessage reads into a large buffer until step says that the end is there;
// now is the present.
func (s *session) readMessage(now time.Time, in *intake, step func() (bool, error)) error {
	if err := s.flushAt(now); err != nil {
		return err
	}
	s.widen()
	defer s.narrow()
	for first := true; ; first = false {
		before := s.buffered()
		done, err := step()
		in.pace.octets += int64(before - s.buffered())
		switch {
		case err != nil || done:
			return err
		case in.scan.broken:
			return errBroken
		case in.pace.octets > in.cfg.MaxSize+excess:
			return errTooMuch
		}
		if !first {
			now = time.Now()
		}
		if err := s.await(now, in.pace.next(now)); err != nil {
			if isTimeout(err) && in.pace.tooSlow() && s.ctx.Err() == nil {
				return errTooSlow
			}
			return err
		}
	}
}

// pace tells how long the next read of a message may take.
type pace struct {
	began   time.Time
	octets  int64
	timeout time.Duration // of one read
	grace   time.Duration
	rate    int64 // least octets a second after the grace; 0: none
}

// next is the deadline of the next read.
func (p *pace) next(now time.Time) time.Time {
	deadline := now.Add(p.timeout)
	if slow := p.slowest(); !slow.IsZero() && slow.Before(deadline) {
		return slow
	}
	return deadline
}

// slowest is when the octets so far are too few for the time they took.
func (p *pace) slowest() time.Time {
	if p.rate <= 0 {
		return time.Time{}
	}
	return p.began.Add(p.grace + time.Duration(float64(p.octets)/float64(p.rate)*float64(time.Second)))
}

func (p *pace) tooSlow() bool {
	slow := p.slowest()
	return !slow.IsZero() && !time.Now().Before(slow)
}

// lingerAndQuit sends the last reply and then reads and drops what the client
// still sends, for a while: closing at once would make its system throw the
// reply away.
func (s *session) lingerAndQuit() error {
	s.abort()
	if err := s.flush(); err != nil {
		return errQuit
	}
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	if s.beginWait(time.Now().Add(linger)) != nil {
		return errQuit
	}
	io.CopyBuffer(io.Discard, io.LimitReader(s.conn, lingerBytes), make([]byte, 4<<10))
	return errQuit
}

// bdat carries out one chunk (RFC 3030). Whatever the verdict, its octets are
// read, since they follow the command at once.
func (s *session) bdat(arg string) error {
	size, last, ok := parseBDAT(arg)
	if !ok {
		s.reply(replySyntax("BDAT size [LAST]"))
		return s.lingerAndQuit() // how many octets follow cannot be told
	}
	t := s.tx
	switch {
	case s.chunksFailed:
		return s.discard(size, func() error { return s.laterChunk(size) })
	case t == nil:
		return s.discard(size, s.outOfPlace)
	case t.chunked != nil:
		return s.takeChunk(t, size, last)
	}
	if r := t.ready(); r != nil {
		s.chunksFailed = !last
		return s.discard(size, func() error { return s.notReady(t, r) })
	}
	t.chunked = t.intake(time.Now(), false)
	return s.takeChunk(t, size, last)
}

// laterChunk refuses a chunk behind one that failed. Chunks with octets are what
// an honest client had pipelined, and no errors.
func (s *session) laterChunk(size int64) error {
	if size == 0 {
		return s.fail(replyChunksFailed())
	}
	s.reply(replyChunksFailed())
	return nil
}

func (s *session) takeChunk(t *transaction, size int64, last bool) error {
	in := t.chunked
	left := size
	before := in.pace.octets
	err := s.readMessage(time.Now(), in, func() (bool, error) {
		p := s.buf[s.r:s.w]
		p = p[:min(int64(len(p)), left)]
		n, _ := in.scan.feed(p)
		if int64(n) < int64(len(p)) && int64(len(p)) == left {
			in.scan.endChunk(p[n:])
			n = len(p)
		}
		s.r += n
		left -= int64(n)
		return left == 0, nil
	})
	if in.pace.octets > before {
		t.touched = time.Now()
	}
	refusal, fault := in.verdict()
	if err == nil && !last && !in.scan.broken && refusal == nil && fault == nil {
		if size == 0 {
			return s.idled(replyChunk(0))
		}
		s.reply(replyChunk(size))
		return nil
	}
	defer in.close()
	t.chunked = nil
	if err == nil && !last && !in.scan.broken {
		// A chunk in the middle failed: the transaction ends here, later chunks
		// are read and refused.
		s.chunksFailed = true
		return s.endTransaction(t.complete(in))
	}
	return s.endData(t, in, err)
}

// betweenChunks says which commands may stand between chunks (RFC 3030 s. 2).
func (s *session) betweenChunks(verb string) *mail.Reply {
	switch verb {
	case "BDAT", "RSET", "NOOP", "QUIT", "EHLO", "HELO", "VRFY", "HELP":
		return nil
	}
	return replyChunksBegun()
}

// discard reads and drops the octets of a refused chunk and then answers.
func (s *session) discard(n int64, answer func() error) error {
	if n > s.snap.Message.MaxSize+excess {
		s.reply(replyTooLarge(s.snap.Message.MaxSize))
		return s.lingerAndQuit()
	}
	for deadline := (time.Time{}); ; {
		use := min(n, int64(s.buffered()))
		s.r += int(use)
		if n -= use; n == 0 {
			return answer()
		}
		now := time.Now()
		if deadline.IsZero() {
			if err := s.flushAt(now); err != nil {
				return err
			}
			deadline = now.Add(s.snap.Timeouts.Command)
		}
		if err := s.await(now, deadline); err != nil {
			return err
		}
	}
}

func parseBDAT(arg string) (size int64, last, ok bool) {
	f := strings.Fields(arg)
	if len(f) == 2 && strings.EqualFold(f[1], "LAST") {
		last, f = true, f[:1]
	}
	if len(f) != 1 || f[0][0] < '0' || f[0][0] > '9' {
		return 0, false, false
	}
	size, err := strconv.ParseInt(f[0], 10, 64)
	return size, last, err == nil
}
