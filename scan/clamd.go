package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// clamd speaks INSTREAM over a socket of clamd, a connection for each message.
type clamd struct{ target target }

// chunkSize is how much of a file is sent in one piece.
const chunkSize = 64 << 10

func (c *clamd) ask(ctx context.Context, m *Message) (Response, error) {
	conn, err := c.target.open(ctx)
	if err != nil {
		return Response{}, err
	}
	defer conn.Close()
	// A server that has had enough says why and closes: what it said is read
	// even when writing failed.
	wrote := sendChunks(conn, &m.Content)
	answer, err := readLine(conn)
	switch {
	case err != nil && wrote != nil:
		return Response{}, wrote
	case err != nil:
		return Response{}, err
	}
	v, err := parseClamd(answer)
	switch {
	case v.Class != Clean:
	case wrote != nil:
		return Response{}, fmt.Errorf("%w: %w", errHasty, wrote)
	case conn.hasty:
		return Response{}, errHasty
	}
	return v, err
}

// sendChunks sends what is in memory as one chunk, and what is in a file in pieces
// of chunkSize. A chunk of length zero is the end.
func sendChunks(conn *bound, c *Content) error {
	end, start := []byte{0, 0, 0, 0}, []byte("zINSTREAM\x00")
	if n := c.Size() - c.FileSize; n > 0 {
		start = binary.BigEndian.AppendUint32(start, uint32(n))
	}
	pieces := c.pieces(start)
	if c.File == nil {
		conn.look()
		return conn.send(append(pieces, end))
	}
	if err := conn.send(pieces); err != nil {
		return err
	}
	r, buf := c.rest(), make([]byte, 4+chunkSize)
	for {
		n, err := io.ReadFull(r, buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, err := conn.Write(buf[:4+n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			conn.look()
			_, err = conn.Write(end)
			return err
		case err != nil:
			return fmt.Errorf("read the message: %w", err)
		}
	}
}

// maxLine is how long an answer of clamd may be.
const maxLine = 4 << 10

// readLine reads to the NUL behind an answer. One without it is not whole, and of two
// nobody knows which counts.
func readLine(r io.Reader) (string, error) {
	buf := make([]byte, 0, 256)
	for len(buf) < maxLine {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if end := bytes.IndexByte(buf, 0); end >= 0 {
			if end < len(buf)-1 {
				return "", errors.New("more than one answer")
			}
			return string(buf[:end]), nil
		}
		if err == io.EOF {
			return "", io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
	}
	return "", errors.New("answer without an end")
}

// parseClamd reads the answer to INSTREAM. Heuristics are policies, not viruses.
func parseClamd(s string) (Response, error) {
	said, ok := strings.CutPrefix(s, "stream: ")
	if ok && said == "OK" {
		return Response{Class: Clean}, nil
	}
	if name, found := strings.CutSuffix(said, " FOUND"); ok && found && name != "" && clean(name, maxLine) == name {
		return Response{Class: signatureClass(name), Text: reason(name)}, nil
	}
	if s == "INSTREAM size limit exceeded. ERROR" {
		return Response{Class: Unscannable, Text: "over the size limit of the scanner"}, nil
	}
	return Response{}, fmt.Errorf("answer %q", clean(s, 200))
}

func signatureClass(name string) Class {
	switch {
	case strings.HasPrefix(name, "Heuristics.Encrypted."):
		return Encrypted
	case strings.HasPrefix(name, "Heuristics.OLE2.ContainsMacros"):
		return Macros
	case strings.HasPrefix(name, "Heuristics.Limits.Exceeded"):
		return Unscannable
	}
	return Virus
}

// version is the answer to VERSION, such as "ClamAV 1.4.6/27000/Mon Nov 30
// 08:00:00 2026": engine, database and its date.
func (c *clamd) version(ctx context.Context) (Version, error) {
	conn, err := c.target.open(ctx)
	if err != nil {
		return Version{}, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "zVERSION\x00"); err != nil {
		return Version{}, err
	}
	s, err := readLine(conn)
	if err != nil {
		return Version{}, err
	}
	return parseVersion(s)
}

func parseVersion(s string) (Version, error) {
	if !strings.HasPrefix(s, "ClamAV ") {
		return Version{}, fmt.Errorf("answer %q to VERSION", clean(s, 200))
	}
	v := Version{Name: clean(s, 200)}
	if part := strings.SplitN(s, "/", 3); len(part) == 3 {
		v.Database, _ = time.Parse("Mon Jan _2 15:04:05 2006", part[2])
	}
	return v, nil
}

// Version is the version of a scanner and of its database.
type Version struct {
	Name     string
	Database time.Time // when it was made; zero when it does not say
}
