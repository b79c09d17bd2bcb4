package main

import (
	"bytes"
	"errors"
	"io"
	"net"
)

// stream is a connection that is read in large pieces: buf[r:w] has come and is
// not yet used. Source, sink and floor share it.
type stream struct {
	net.Conn
	buf  []byte
	r, w int
	out  []byte // replies or commands that have gathered
}

func newStream(c net.Conn, size int) *stream { return &stream{Conn: c, buf: make([]byte, size)} }

var errLineTooLong = errors.New("line longer than the buffer")

// fill reads more.
func (s *stream) fill() error {
	if s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if s.w == len(s.buf) {
		return errLineTooLong
	}
	n, err := s.Read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// flush writes what has gathered.
func (s *stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.Write(s.out)
	s.out = s.out[:0]
	return err
}

// line returns the next line without CR LF, valid until the next call. Before it
// waits for one it writes what has gathered.
func (s *stream) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(s.buf[s.r:s.w], '\n'); i >= 0 {
			line := s.buf[s.r : s.r+i]
			s.r += i + 1
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		if err := s.flush(); err != nil {
			return nil, err
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// reply returns the code and the last line of the next SMTP reply.
func (s *stream) reply() (code int, last []byte, err error) {
	for {
		line, err := s.line()
		if err != nil {
			return 0, nil, err
		}
		if len(line) < 3 {
			return 0, line, errors.New("not a reply")
		}
		if len(line) == 3 || line[3] == ' ' {
			return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'), line, nil
		}
	}
}

// verb reports whether line begins with the command, which is in upper case.
func verb(line []byte, command string) bool {
	return len(line) >= len(command) && bytes.EqualFold(line[:len(command)], []byte(command))
}
