package wire

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Socket is a TCP connection that can be asked what has come without waiting for
// it, also by TLS, which reads through it.
type Socket struct {
	*net.TCPConn
	rc   syscall.RawConn
	look bool // Read fails with nothingYet in place of waiting
}

// NewSocket is for a connection that is open, the only kind that has a RawConn.
func NewSocket(c *net.TCPConn) *Socket {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return &Socket{TCPConn: c, rc: rc}
}

// TryRead reads by read, which must read through s, without waiting: nothing is
// true where nothing has come.
func (s *Socket) TryRead(read func() error) (nothing bool, err error) {
	s.look = true
	err = read()
	s.look = false
	return errors.As(err, new(nothingYet)), err
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (n int, err error) {
	if !s.look {
		return s.TCPConn.Read(p)
	}
	// Not by RawConn.Read, which fails once an earlier deadline has passed.
	control := s.rc.Control(func(fd uintptr) {
		for n, err = syscall.Read(int(fd), p); err == syscall.EINTR; {
			n, err = syscall.Read(int(fd), p)
		}
	})
	switch {
	case control != nil:
		return 0, control
	case err == syscall.EAGAIN:
		return 0, nothingYet{}
	case err != nil:
		return 0, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// nothingYet says that nothing has come. To TLS it is a passed deadline, after
// which it can be read on.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }
