// Package scantest has a scripted clamd for tests.
package scantest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// Version is what the scripted clamd calls itself, unless the test says otherwise.
const Version = "ClamAV 1.4.6/27000/Mon Nov 30 08:00:00 2026"

// Clamd is a scanner on a socket of this machine.
type Clamd struct {
	Address string // as clamd of a [scanner.NAME]
	Version string
	// Answer is what it says about a message, such as "stream: OK"; "": nothing,
	// it closes. It may be called by several goroutines.
	Answer func(message []byte) string

	tasks sync.WaitGroup
}

// Start serves c until the test ends.
func (c *Clamd) Start(t *testing.T) *Clamd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Address = "tcp:" + l.Addr().String()
	if c.Version == "" {
		c.Version = Version
	}
	c.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.tasks.Go(func() { defer conn.Close(); c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); c.tasks.Wait() })
	return c
}

func (c *Clamd) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	command, err := r.ReadString(0)
	switch {
	case err != nil:
		return
	case command == "zVERSION\x00":
		io.WriteString(conn, c.Version+"\x00")
		return
	}
	var all bytes.Buffer
	for {
		var n uint32
		if binary.Read(r, binary.BigEndian, &n) != nil {
			return
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&all, r, int64(n)); err != nil {
			return
		}
	}
	if answer := c.Answer(all.Bytes()); answer != "" {
		io.WriteString(conn, answer+"\x00")
	}
}

// Finds answers as a good clamd does: it finds test messages, and "virus" in mail.
func Finds(message []byte) string {
	canary := bytes.Contains(message, []byte("X-Postern-Canary"))
	switch {
	case canary && bytes.Contains(message, []byte("nested deeply")):
		return "stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND"
	case canary && bytes.Contains(message, []byte("secret.zip")):
		return "stream: Heuristics.Encrypted.Zip FOUND"
	case canary && bytes.Contains(message, []byte("test.com")):
		return "stream: Eicar FOUND"
	case bytes.Contains(message, []byte("virus")):
		return "stream: Own.Virus FOUND"
	case bytes.Contains(message, []byte("poison")):
		return ""
	}
	return "stream: OK"
}
