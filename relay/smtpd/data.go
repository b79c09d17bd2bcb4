package smtpd

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/mail"
	"postern/relay/replies"
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
	m, refuse := s.message(true)
	if m == nil {
		return refuse(false)
	}
	s.dataBegan = true
	s.reply(replies.StartData())
	err := s.readMessage(m.pace.began, m, func() (bool, error) {
		n, done := m.lines.feed(s.buf[s.r:s.w])
		s.r += n
		return done, nil
	})
	return s.endData(m, err)
}

// message asks whether the message may come now; where it may not, refuse gives
// the answer; whole: the client has sent the message nevertheless.
func (s *session) message(dots bool) (m *Message, refuse func(whole bool) error) {
	t := s.tx
	if t.rcpts == 0 {
		return nil, func(bool) error { return s.fail(replies.RcptFirst()) }
	}
	m = newMessage(t.cfg, s.srv.opt.RateGrace, dots, time.Now())
	m.lines.normalize = m.lines.normalize || t.lenient
	m.lines.afterLF = s.ends == endsLF // a dot behind "DATA" LF ends nothing
	if r := t.Data(m); r != nil {
		return nil, func(whole bool) error {
			if whole && t.taken > 0 {
				return s.endMessage(r)
			}
			return s.endTransaction(r)
		}
	}
	return m, nil
}

// endData answers after the last octet, or closes where that cannot be told.
func (s *session) endData(m *Message, err error) error {
	t := s.tx
	switch {
	case errors.Is(err, errTooMuch):
		s.endMessage(t.Break("size", replies.TooLarge(t.cfg.Message.MaxSize)))
		return s.lingerAndQuit()
	case errors.Is(err, errTooSlow):
		s.endMessage(t.Break("min_rate", replies.TooSlow()))
		return errQuit
	case err != nil && !errors.Is(err, errBroken):
		return err // the transaction is aborted with the session
	case err == nil:
		m.lines.end()
	}
	if m.lines.broken {
		s.endMessage(t.Break("newlines", m.Refusal))
		return s.lingerAndQuit()
	}
	return s.endMessage(t.Deliver(m))
}

// readMessage reads into a large buffer until step says that the end is there;
// now is the present.
func (s *session) readMessage(now time.Time, m *Message, step func() (bool, error)) error {
	if err := s.flushAt(now); err != nil {
		return err
	}
	s.widen()
	defer s.narrow()
	for first := true; ; first = false {
		before := s.buffered()
		done, err := step()
		m.pace.octets += int64(before - s.buffered())
		switch {
		case err != nil || done:
			return err
		case m.lines.broken:
			return errBroken
		case m.pace.octets > s.tx.cfg.Message.MaxSize+excess:
			return errTooMuch
		}
		if !first {
			now = time.Now()
		}
		if err := s.await(now, m.pace.next(now)); err != nil {
			if isTimeout(err) && m.pace.tooSlow() && s.ctx.Err() == nil {
				return errTooSlow
			}
			return err
		}
	}
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
		s.reply(replies.Syntax("BDAT size [LAST]"))
		return s.lingerAndQuit() // how many octets follow cannot be told
	}
	t := s.tx
	switch {
	case s.chunksFailed:
		return s.discard(size, func() error { return s.laterChunk(size, last) })
	case t == nil:
		return s.discard(size, s.outOfPlace)
	case t.chunked != nil:
		return s.takeChunk(size, last)
	}
	m, refuse := s.message(false)
	if m == nil {
		if !last {
			s.failChunks(t.taken)
		}
		return s.discard(size, func() error { return refuse(last) })
	}
	t.chunked = m
	return s.takeChunk(size, last)
}

// failChunks has those that come behind refused; taken is how many recipients wait
// for a reply to the last one.
func (s *session) failChunks(taken int) { s.chunksFailed, s.unanswered = true, taken }

// laterChunk refuses a chunk behind one that failed. Chunks with octets are what
// an honest client had pipelined, and no errors.
func (s *session) laterChunk(size int64, last bool) error {
	switch {
	case last && s.peer.LMTP && s.unanswered > 0:
		n, r := s.unanswered, replies.ChunksFailed()
		s.unanswered = 0
		if s.verdict.Temporary() {
			r = s.verdict // a client that takes the last reply for the verdict tries again
		}
		return s.answerEach(repeated(r, n), false)
	case size == 0:
		return s.fail(replies.ChunksFailed())
	}
	s.reply(replies.ChunksFailed())
	return nil
}

func (s *session) takeChunk(size int64, last bool) error {
	t, m := s.tx, s.tx.chunked
	left := size
	before := m.pace.octets
	err := s.readMessage(time.Now(), m, func() (bool, error) {
		p := s.buf[s.r:s.w]
		p = p[:min(int64(len(p)), left)]
		n, _ := m.lines.feed(p)
		if int64(n) < int64(len(p)) && int64(len(p)) == left {
			m.lines.endChunk(p[n:])
			n = len(p)
		}
		s.r += n
		left -= int64(n)
		return left == 0, nil
	})
	if m.pace.octets > before {
		t.touched = time.Now()
	}
	middle := err == nil && !last && !m.lines.broken
	switch {
	case middle && m.Refusal == nil && m.Fault == nil && size == 0:
		return s.idled(replies.Chunk(0))
	case middle && m.Refusal == nil && m.Fault == nil:
		s.reply(replies.Chunk(size))
		return nil
	case middle:
		// A chunk in the middle failed: the transaction ends here, later chunks
		// are read and refused.
		s.failChunks(t.taken)
		return s.endTransaction(t.Deliver(m))
	}
	return s.endData(m, err)
}

// betweenChunks says which commands may stand between chunks (RFC 3030 s. 2).
func (s *session) betweenChunks(verb string) *mail.Reply {
	switch verb {
	case "BDAT", "RSET", "NOOP", "QUIT", "EHLO", "HELO", "LHLO", "VRFY", "HELP":
		return nil
	}
	return replies.ChunksBegun()
}

// discard reads and drops the octets of a refused chunk and then answers.
func (s *session) discard(n int64, answer func() error) error {
	if n > s.cfg.Message.MaxSize+excess {
		s.reply(replies.TooLarge(s.cfg.Message.MaxSize))
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
			deadline = now.Add(s.cfg.Timeouts.Command)
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
