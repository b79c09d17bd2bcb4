package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sink is the upstream of the benchmarks: it takes mail by DATA or BDAT as fast
// as it can be read, and counts it.
type sink struct {
	ln       net.Listener
	tls      *tls.Config // nil: no STARTTLS
	chunking bool
	atRCPT   time.Duration // how long it thinks about a recipient
	atDot    time.Duration // and about a message

	messages atomic.Int64
	octets   atomic.Int64 // of bodies, as they came over the wire
	accepted atomic.Int64 // connections

	mu    sync.Mutex
	want  int // messages to keep from now on
	kept  [][]byte
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

// newSink starts a sink on a free port of 127.0.0.1.
func newSink(chunking bool, cfg *tls.Config) (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{tls: cfg, chunking: chunking}
	s.serve(ln)
	return s, nil
}

// serve takes connections of ln until close.
func (s *sink) serve(ln net.Listener) {
	s.ln, s.conns = ln, map[net.Conn]bool{}
	s.done.Go(s.accept)
}

func (s *sink) addr() string { return s.ln.Addr().String() }

func (s *sink) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() {
			session := sinkSession{stream: newStream(c, 256<<10), s: s}
			session.serve()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			session.Close()
		})
	}
}

func (s *sink) close() {
	s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// keep makes the sink keep the next n messages, octet by octet.
func (s *sink) keep(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want, s.kept = n, nil
}

// keptMessages are those that have come since keep.
func (s *sink) keptMessages() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// keeper returns where the next message is to be written, nil when it is not kept.
func (s *sink) keeper() *bytes.Buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == 0 {
		return nil
	}
	s.want--
	return new(bytes.Buffer)
}

type sinkSession struct {
	*stream
	s      *sink
	rcpts  int
	secure bool
}

// serve answers until the other side leaves.
func (c *sinkSession) serve() {
	c.out = append(c.out, "220 sink.example ESMTP\r\n"...)
	for {
		line, err := c.line()
		if err != nil || c.command(line) != nil {
			c.flush()
			return
		}
	}
}

func (c *sinkSession) command(line []byte) error {
	switch {
	case verb(line, "MAIL"):
		c.say("250 2.1.0 ok")
	case verb(line, "RCPT"):
		if bytes.Contains(line, []byte("<refused")) {
			c.say("550 5.1.1 no such mailbox")
			return nil
		}
		c.rcpts++
		time.Sleep(c.s.atRCPT)
		c.say("250 2.1.5 ok")
	case verb(line, "BDAT "):
		if !c.s.chunking {
			c.say("502 5.5.1 BDAT was not offered")
			return io.EOF
		}
		return c.bdat(line)
	case verb(line, "DATA"):
		if c.rcpts == 0 {
			c.say("554 5.5.1 no recipients")
			return nil
		}
		return c.data()
	case verb(line, "EHLO"), verb(line, "HELO"):
		c.ehlo()
	case verb(line, "STARTTLS"):
		return c.startTLS()
	case verb(line, "RSET"), verb(line, "NOOP"):
		c.rcpts = 0
		c.say("250 2.0.0 ok")
	case verb(line, "QUIT"):
		c.say("221 2.0.0 bye")
		return io.EOF
	default:
		c.say("500 5.5.2 unknown")
	}
	return nil
}

func (c *sinkSession) say(text string) { c.out = append(append(c.out, text...), "\r\n"...) }

func (c *sinkSession) ehlo() {
	c.out = append(c.out, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"...)
	if c.s.chunking {
		c.out = append(c.out, "250-CHUNKING\r\n"...)
	}
	if c.s.tls != nil && !c.secure {
		c.out = append(c.out, "250-STARTTLS\r\n"...)
	}
	c.out = append(c.out, "250 SIZE 104857600\r\n"...)
}

func (c *sinkSession) startTLS() error {
	c.say("220 2.0.0 go ahead")
	if err := c.flush(); err != nil {
		return err
	}
	t := tls.Server(c.Conn, c.s.tls)
	t.SetDeadline(time.Now().Add(time.Minute))
	if err := t.Handshake(); err != nil {
		return err
	}
	t.SetDeadline(time.Time{})
	c.Conn, c.secure = t, true
	return nil
}

// bdat reads one chunk; only what comes as one LAST chunk is understood.
func (c *sinkSession) bdat(line []byte) error {
	number, last := bytes.CutSuffix(line[len("BDAT "):], []byte(" LAST"))
	size, err := strconv.Atoi(string(number))
	if err != nil || !last {
		c.say("501 5.5.4 BDAT size LAST")
		return io.EOF
	}
	keep := c.s.keeper()
	for left := size; left > 0; {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return err
			}
		}
		n := min(left, c.w-c.r)
		if keep != nil {
			keep.Write(c.buf[c.r : c.r+n])
		}
		c.r += n
		left -= n
	}
	if c.rcpts == 0 {
		c.say("554 5.5.1 no recipients")
		return nil
	}
	c.took(int64(size), keep)
	return nil
}

var finalDot = []byte("\r\n.\r\n")

// data reads up to the final dot; what it keeps has its dots taken off again.
func (c *sinkSession) data() error {
	c.say("354 go ahead")
	if err := c.flush(); err != nil {
		return err
	}
	keep := c.s.keeper()
	var all []byte
	size := 0
	for {
		if i := bytes.Index(c.buf[c.r:c.w], finalDot); i >= 0 {
			size += i + 2
			if keep != nil {
				all = append(all, c.buf[c.r:c.r+i+2]...)
				keep.Write(bytes.ReplaceAll(all, []byte("\r\n.."), []byte("\r\n.")))
			}
			c.r += i + len(finalDot)
			c.took(int64(size), keep)
			return nil
		}
		// What may be the beginning of the final dot stays.
		if use := c.w - c.r - (len(finalDot) - 1); use > 0 {
			if keep != nil {
				all = append(all, c.buf[c.r:c.r+use]...)
			}
			size += use
			c.r += use
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

func (c *sinkSession) took(size int64, kept *bytes.Buffer) {
	c.rcpts = 0
	time.Sleep(c.s.atDot)
	n := c.s.messages.Add(1)
	c.s.octets.Add(size)
	if kept != nil {
		c.s.mu.Lock()
		c.s.kept = append(c.s.kept, kept.Bytes())
		c.s.mu.Unlock()
	}
	c.out = append(c.out, "250 2.0.0 taken as "...)
	c.out = append(strconv.AppendInt(c.out, n, 10), "\r\n"...)
}
