package relay

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/relay/smtpd"
)

// sessions are seeds: one for each state that a session can be in when
// something unexpected comes.
func sessions() (all []string) {
	const (
		ehlo = "EHLO mta.example.org\r\n"
		from = ehlo + "MAIL FROM:<a@example.org>\r\n"
		to   = from + "RCPT TO:<b@dest.example>\r\n"
		data = to + "DATA\r\n"
		head = "From: a@example.org\r\n\r\n"
	)
	odd := []string{
		"\n", "\r", "\r\r\n", "\x00\r\n", ".\r\n", "..\r\n", "QUIT\r\n", "RSET\r\n", "NOOP\r\n", "STARTTLS\r\nQUIT\r\n", "DATA\r\n", "BDAT 5 LAST\r\nQUIT\n",
		"BDAT 0 LAST\r\n", "BDAT 9223372036854775807\r\nx", "BDAT x\r\n", "NOOP\nMAIL FROM:<a@example.org>\r\n", "NOOP\rDATA\r\n", "NOOP\nBDAT 5 LAST\r\nQUIT\n", "EHLO x\r\n", "HELO [::1]\r\n", "GET / HTTP/1.1\r\n", strings.Repeat("x", 3000) + "\r\n",
		"AUTH PLAIN AHNob3AAc2VjcmV0\r\n", "AUTH LOGIN\r\nc2hvcA==\r\nc2VjcmV0\r\n", "AUTH EXTERNAL =\r\n", "AUTH PLAIN\r\n*\r\n", "XCLIENT ADDR=192.0.2.1 LOGIN=shop HELO=x PROTO=ESMTP\r\n",
		"MAIL FROM:<>\r\n", "MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x AUTH=<> REQUIRETLS\r\n", "MAIL FROM:<\"a b\"@example.org>\r\n",
		"RCPT TO:<no@dest.example>\r\n", "RCPT TO:<later@dest.example>\r\n", "RCPT TO:<drop@dest.example>\r\n", "RCPT TO:<postmaster>\r\n", "RCPT TO:<b@[192.0.2.1]>\r\n", "RCPT TO:<\"\\>\"@dest.example> NOTIFY=NEVER\r\n",
		head + "x\r\n.\r\n", head + "x\n.\nMAIL FROM:<a@example.org>\r\n.\r\n", head + "x\r\n.\nx\r\n.\r\n", head + "x\n.\r\nx\r\n.\r\n", head + "x\r.\r\nx\r\n.\r\n", head + "\r\r\n.\r\n", "From: x@evil.example\r\n\r\n.\r\n", head,
	}
	for _, start := range []string{"", ehlo, from, to, data, data + head, to + "BDAT 23\r\n" + head, ehlo + "AUTH LOGIN\r\n", from + "RCPT TO:<no@dest.example>\r\n"} {
		for _, o := range odd {
			all = append(all, start+o+"NOOP\r\n")
		}
	}
	return append(all, data+head+"x\r\n.\r\n"+strings.TrimPrefix(data, ehlo)+head+"y\r\n.\r\nQUIT\r\n")
}

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9][ -][ -~]*$`)

// FuzzSession: whatever a client sends, replies are replies, the upstream gets
// nothing doubtful, and it gets a message only where the client heard so.
func FuzzSession(f *testing.F) {
	for i, s := range sessions() {
		f.Add([]byte(s), uint8(i%7), i%2 == 0)
	}
	strict := newTheatre(f)
	mending := newTheatre(f, "message.newlines normalize")
	f.Fuzz(func(t *testing.T, in []byte, piece uint8, normalize bool) {
		h := strict
		if normalize {
			h = mending
		}
		h.holdSession(t, in, int(piece))
	})
}

// holdSession plays a session and returns what the upstream took of it.
func (h *theatre) holdSession(t *testing.T, in []byte, piece int) (took []string) {
	h.strict.t = t
	before := h.counts.by["relayed"]
	hung := time.AfterFunc(30*time.Second, func() { panic(fmt.Sprintf("no end of a session with %q", in)) })
	heard, took := h.play(in, piece)
	hung.Stop()
	taken, ready := 0, 0
	for _, line := range strings.SplitAfter(heard, "\r\n") {
		text, ok := strings.CutSuffix(line, "\r\n")
		if line == "" {
			continue
		}
		if !ok || len(line) > 512 || !replyLine.MatchString(text) {
			t.Fatalf("reply line %q", line)
		}
		switch {
		case strings.HasPrefix(text, "354 "):
			ready++
		case text == "250 2.0.0 taken as strict":
			taken++
		}
	}
	told := len(took)
	if h.rig.listener.Protocol == smtpd.ProtocolLMTP {
		told = h.strict.told
	}
	if told != taken || h.counts.by["relayed"]-before != len(took) {
		t.Fatalf("client heard of %d messages, upstream has %d, events tell of %d", taken, told, h.counts.by["relayed"]-before)
	}
	if chunks := strings.Count(strings.ToUpper(string(in)), "BDAT"); len(took) > ready+chunks {
		t.Fatalf("%d messages behind %d DATA and %d BDAT", taken, ready, chunks)
	}
	if n := h.rig.server.spool.used.Load(); n != 0 {
		t.Fatalf("%d octets of bodies are left", n)
	}
	return took
}

// FuzzLMTPSession: the same over LMTP, where each recipient that was taken hears of the
// message, and nobody else.
func FuzzLMTPSession(f *testing.F) {
	for i, s := range sessions() {
		f.Add([]byte(strings.ReplaceAll(s, "EHLO", "LHLO")), uint8(i%7))
	}
	const start = "LHLO mta.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nRCPT TO:<no@dest.example>\r\nRCPT TO:<c@dest.example>\r\n"
	f.Add([]byte(start+"BDAT 26\r\nFrom: a@example.org\r\n\r\n\x00\r\nBDAT 0 LAST\r\nBDAT 0 LAST\r\nNOOP\r\n"), uint8(0))
	f.Add([]byte(start+"BDAT 26 LAST\r\nFrom: a@example.org\r\n\r\nx\r\n"+start+"DATA\r\nFrom: a@example.org\r\n\r\n.\r\n"), uint8(0))
	h := newTheatre(f, "listener.protocol lmtp")
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) { h.holdSession(t, in, int(piece)) })
}

// FuzzData: a message that is clean arrives as it was sent, another does not
// arrive, and what follows it is read in step or not at all.
func FuzzData(f *testing.F) {
	for _, s := range []string{"", ".", "x\r\n", "x\r\n.\r\n", "..\r\n", "\r\n.x", "x\n.\n", "x\r.\r", "\r\r\n", "\x00", "\r\n\r\n\r\n", strings.Repeat("y", 70_000)} {
		f.Add([]byte(s), uint8(0), uint16(0))
		f.Add([]byte(s), uint8(1), uint16(1))
		f.Add([]byte(s), uint8(3), uint16(7))
	}
	h := newTheatre(f)
	f.Fuzz(func(t *testing.T, body []byte, piece uint8, chunk uint16) {
		h.strict.t = t
		text := append([]byte("From: a@example.org\r\n\r\n"), body...)
		in := append([]byte(nil), "EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\n"...)
		if chunk == 0 {
			in = append(append(in, "DATA\r\n"...), smtpDots(text)...)
		} else {
			in = append(in, inChunks(text, int(chunk))...)
		}
		in = append(in, "MAIL FROM:<a@example.org>\r\nVRFY x\r\n"...)
		heard, took := h.play(in, int(piece))
		clean := !dirty(text)
		if chunk == 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
			text = append(text, "\r\n"...)
			clean = !dirty(text)
		}
		fits := len(text) <= 100_000 && longest(text) <= 64<<10
		if want := clean && fits; want != (len(took) == 1) || len(took) > 1 {
			t.Fatalf("%q: %d arrived; heard %q", text, len(took), heard)
		}
		if len(took) == 1 {
			_, arrived, _ := strings.Cut(took[0], "Message-ID:")
			_, arrived, _ = strings.Cut(arrived, "\r\n")
			if arrived != string(text) && arrived != string(text)+"\r\n" {
				t.Fatalf("arrived %q, want %q", arrived, text)
			}
		}
		broken := bytes.ContainsAny(bytes.ReplaceAll(text, []byte("\r\n"), nil), "\r\n")
		if chunk > 0 && bytes.IndexByte(text, 0) >= 0 {
			return // the chunk with NUL ends the message, those behind it are dropped
		}
		if inStep := strings.Contains(heard, "\r\n252 "); inStep == broken && fits {
			t.Fatalf("%q: commands behind it were read: %v", text, inStep)
		}
	})
}

func inChunks(text []byte, size int) (in []byte) {
	for {
		n := min(size, len(text))
		last := ""
		if n == len(text) {
			last = " LAST"
		}
		in = append(fmt.Appendf(in, "BDAT %d%s\r\n", n, last), text[:n]...)
		if text = text[n:]; last != "" {
			return in
		}
	}
}

// dirty reports a bare CR, a bare LF or NUL.
func dirty(text []byte) bool {
	return bytes.ContainsAny(bytes.ReplaceAll(text, []byte("\r\n"), nil), "\r\n\x00")
}

func longest(text []byte) (n int) {
	for _, line := range bytes.Split(text, []byte("\r\n")) {
		n = max(n, len(line))
	}
	return n
}
