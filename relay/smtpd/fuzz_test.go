package smtpd

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// FuzzCommandLines: each CR LF ends one line, however the octets come; what
// stands between two is one command without CR and LF, or one error.
func FuzzCommandLines(f *testing.F) {
	long := strings.Repeat("x", maxCommand)
	for _, s := range []string{"NOOP\r\nQUIT\r\n", "NOOP\nMAIL\r\nQUIT\r\n", "NOOP\rMAIL\r\n", "\r\r\n\n\r\n\r", "a\nBDAT 5\r\nQUIT\r\n", "a\n\r\nb\n\n\r\nc\r\n",
		long + "\nMAIL\r\nQUIT\r\n", long[2:] + "\r\nQUIT\r\n", long[1:] + "\r\nQUIT\r\n", "a\n" + long + long + "\r\nQUIT\r\n", long + "\rBDAT\r\nx"} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		w := wire{buf: make([]byte, commandBuffer)}
		rest := in
		more := func() error {
			if len(rest) == 0 {
				return io.EOF
			}
			n := len(rest)
			if piece > 0 {
				n = min(n, int(piece))
			}
			copy(w.buf, w.buf[w.r:w.w])
			w.w -= w.r
			w.r = 0
			n = copy(w.buf[w.w:], rest[:n])
			if n == 0 {
				t.Fatal("no room for what comes")
			}
			w.w += n
			rest = rest[n:]
			return nil
		}
		want := bytes.Split(in, crlf)
		for i, segment := range want[:len(want)-1] {
			line, err := w.readLine(more)
			switch {
			case errors.Is(err, errHiddenChunk):
				if i == 0 || !hidesChunk(want[i-1]) {
					t.Fatalf("line %d: no chunk is hidden behind %q", i, want[i-1])
				}
				return
			case err == nil && (!bytes.Equal(line, segment) || bytes.ContainsAny(line, "\r\n") || len(line)+2 > maxCommand):
				t.Fatalf("line %d is %.60q, want %.60q", i, line, segment)
			case err != nil && !bytes.ContainsAny(segment, "\r\n") && len(segment)+2 <= maxCommand:
				t.Fatalf("line %d, %.60q: %v", i, segment, err)
			case err != nil && !bytes.HasPrefix(segment, line[:min(4, len(line))]):
				t.Fatalf("line %d, %.60q, is said to begin with %.60q", i, segment, line)
			}
		}
	})
}

// FuzzLFCommandLines: where the client may end its lines in LF alone, and the first
// one does, each LF ends one, and a CR anywhere is an error; where the first one does
// not, no other may.
func FuzzLFCommandLines(f *testing.F) {
	for _, s := range []string{"EHLO x\nQUIT\n", "EHLO x\nNOOP\r\nQUIT\n", "EHLO x\r\nNOOP\nQUIT\r\n", "\n\r\n", "\r\n\n", "a\rb\n", "a\nb\rc\n", strings.Repeat("x", maxCommand) + "\nQUIT\n"} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		rest := in
		w := wire{buf: make([]byte, commandBuffer), mayEndInLF: func() bool { return true }}
		more := func() error {
			if len(rest) == 0 {
				return io.EOF
			}
			copy(w.buf, w.buf[w.r:w.w])
			w.w -= w.r
			w.r = 0
			n := copy(w.buf[w.w:], rest[:min(len(rest), max(1, int(piece)))])
			w.w += n
			rest = rest[n:]
			return nil
		}
		first, _, ended := bytes.Cut(in, []byte("\n"))
		if !ended {
			return
		}
		byLF := !bytes.HasSuffix(first, []byte("\r")) && len(first) < maxCommand
		for i, want := range bytes.SplitAfter(in, []byte("\n")) {
			if !bytes.HasSuffix(want, []byte("\n")) {
				return
			}
			want = want[:len(want)-1]
			line, err := w.readLine(more)
			switch {
			case !byLF && bytes.HasSuffix(want, []byte("\r")):
				if err == nil && !bytes.Equal(line, want[:len(want)-1]) {
					t.Fatalf("line %d is %.60q, want %.60q", i, line, want)
				}
				if err != nil {
					return
				}
			case !byLF:
				if err == nil {
					t.Fatalf("line %d, %.60q, passes", i, want)
				}
				return
			case err != nil:
				if bytes.IndexByte(want, '\r') < 0 && len(want) < maxCommand {
					t.Fatalf("line %d, %.60q: %v", i, want, err)
				}
				return // the session closes
			case !bytes.Equal(line, want) || bytes.IndexByte(line, '\r') >= 0 || len(line) >= maxCommand:
				t.Fatalf("line %d is %.60q, want %.60q", i, line, want)
			}
		}
	})
}

// FuzzXClient: what a front end says makes a peer that can be logged, counted
// and judged, or nothing.
func FuzzXClient(f *testing.F) {
	for _, s := range []string{
		"ADDR=192.0.2.1", "ADDR=IPV6:2001:db8::1 NAME=x", "ADDR=[UNAVAILABLE]", "LOGIN=shop", "LOGIN=[UNAVAILABLE]", "HELO=a+2Db PROTO=SMTP",
		"PORT=0", "ADDR=::ffff:192.0.2.1", "ADDR=fe80::1%eth0", "LOGIN=+00", "LOGIN=+", "=", "ADDR", "DESTADDR=1 DESTPORT=2",
	} {
		f.Add(s)
	}
	srv, lis := newServer(f)
	f.Fuzz(func(t *testing.T, arg string) {
		if strings.ContainsAny(arg, "\r\n") {
			return
		}
		s := srv.newSession(lis, &script{})
		defer s.cancel()
		s.trusted, s.countedIP = true, s.peer.Addr.Addr()
		lis.caps.enterIP(s.countedIP)
		defer func() { lis.caps.leaveIP(s.countedIP) }()
		before := s.peer
		if err := s.xclient(arg); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(s.out), "501") {
			if s.peer.Addr != before.Addr || s.peer.User != "" || s.peer.Helo != before.Helo {
				t.Fatalf("refused, and yet %+v", s.peer)
			}
			return
		}
		switch {
		case !strings.HasPrefix(string(s.out), "220 "):
			t.Fatalf("replied %q", s.out)
		case s.peer.Addr.Addr().IsUnspecified() || s.peer.Addr.Addr().Is4In6() || s.peer.Addr.Addr().Zone() != "":
			t.Fatalf("address %v", s.peer.Addr)
		case hasControl([]byte(s.peer.User)) || strings.Contains(s.peer.User, "\t") || hasControl([]byte(s.peer.Helo)):
			t.Fatalf("peer %+v", s.peer)
		case len(s.peer.Certificates) > 0 || s.countedIP != s.peer.Addr.Addr():
			t.Fatalf("peer %+v counted on %v", s.peer, s.countedIP)
		}
	})
}

// FuzzBDAT: the argument of BDAT is a number of octets, or the connection ends.
func FuzzBDAT(f *testing.F) {
	for _, s := range []string{"0", "1 LAST", "01 last", "-1", "+1", "1 2", "", "LAST", "9223372036854775807", "9223372036854775808", "1_0", "0x1", "1  LAST", "1\tLAST"} {
		f.Add(s)
	}
	digits := regexp.MustCompile(`^[0-9]+$`)
	f.Fuzz(func(t *testing.T, arg string) {
		size, last, ok := parseBDAT(arg)
		words := strings.Fields(arg)
		wellFormed := len(words) > 0 && digits.MatchString(words[0]) &&
			(len(words) == 1 || len(words) == 2 && strings.EqualFold(words[1], "LAST"))
		if ok && (!wellFormed || size < 0 || last != slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "LAST") })) {
			t.Fatalf("%q: %d, %v", arg, size, last)
		}
		if !ok && wellFormed && len(strings.TrimLeft(words[0], "0")) < 19 {
			t.Fatalf("%q was refused", arg)
		}
	})
}
