package wire

import (
	"io"
	"net"
	"syscall"
)

// Socket is a TCP connection that can be asked what has come without waiting for
// it, also by TLS, which reads through it.
type Socket struct {
	*net.TCPConn
	rc  syscall.RawConn
	try func(fd uintptr) // reads into p, made once for all reads

	look bool // Read fails with nothingYet in place of waiting

	// Of one such read: where it reads to, and what came of it.
	p   []byte
	n   int
	err error
}

// NewSocket makes a Socket of c, which must be open.
func NewSocket(c *net.TCPConn) *Socket {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &Socket{TCPConn: c, rc: rc}
	s.try = s.readNow
	return s
}

// TryRead reads by read, which must read through s, without waiting: nothing is
// true where nothing has come.
func (s *Socket) TryRead(read func() error) (nothing bool, err error) {
	s.look, s.err = true, nil
	err = read()
	s.look = false
	return err != nil && s.err == syscall.EAGAIN, err
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (int, error) {
	if !s.look {
		return s.TCPConn.Read(p)
	}
	s.p = p
	// Not by RawConn.Read, which fails once an earlier deadline has passed.
	err := s.rc.Control(s.try)
	s.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == syscall.EAGAIN:
		return 0, nothingYet{}
	case s.err != nil:
		return 0, s.err
	case s.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// readNow is one read of the system that does not wait.
func (s *Socket) readNow(fd uintptr) {
	for s.n, s.err = syscall.Read(int(fd), s.p); s.err == syscall.EINTR; {
		s.n, s.err = syscall.Read(int(fd), s.p)
	}
}

// nothingYet says that nothing has come. To TLS it is a passed deadline, after
// which it can be read on.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }
