package smtpd

import (
	"bytes"

	"postern/internal/syntax"
	"postern/relay/replies"
)

// lineScanner checks the octets of a message as they come, by DATA or by BDAT,
// and hands on clean runs of them: every line ends in CR LF, no other CR or LF,
// no NUL, the dots of transparency removed. It looks at whole runs with
// vectorised searches and copies nothing but what holds a bare LF.
//
// What it refuses the message remembers, and it goes on looking for the end of the
// data, so that the session can answer in step where that is safe.
type lineScanner struct {
	dots      bool // DATA: transparency and the final dot (RFC 5321 s. 4.5.2)
	normalize bool // a bare LF becomes CR LF
	maxLine   int64
	m         *Message // takes the runs and keeps the refusal

	line    int64 // octets of the unfinished line that have been handed on
	long    int   // lines over syntax.MaxLine
	mended  bool  // a bare LF has become CR LF
	afterLF bool  // the line before ended in a bare LF: dots mean nothing on this one
	heldCR  bool  // BDAT: the last octet of the chunk was a CR, not yet handed on
	// mending holds clean octets while those of one call are put together again, so
	// that lines with a bare LF cause no more calls of Take than others; nil else.
	mending *[]byte
	held    int // octets of mending in use
	// broken is set by a bare CR or LF that is refused: where the message ends
	// is then in doubt, and nothing after it may be read as a command.
	broken bool
}

var crlf = []byte("\r\n")

// feed scans p. It returns how many octets it used and whether the final dot
// was among them. Unused are only octets after the final dot and, where their
// meaning depends on the next one, the last one or two; the caller feeds those
// again with what follows.
func (s *lineScanner) feed(p []byte) (n int, done bool) {
	n, done = s.scan(p)
	if s.mending != nil {
		s.handHeld()
		bodyBuffers.Put(s.mending)
		s.mending = nil
	}
	return n, done
}

func (s *lineScanner) scan(p []byte) (n int, done bool) {
	nul := bytes.IndexByte(p, 0) >= 0
	run, i := 0, 0 // p[run:i] is clean and not yet handed on
	if s.heldCR && len(p) > 0 {
		s.heldCR = false
		if p[0] != '\n' {
			s.breakLine()
		} else {
			s.hand(crlf)
			s.line = 0
			run, i = 1, 1
		}
	}
	for {
		length := bytes.IndexByte(p[i:], '\n')
		if length < 0 {
			break
		}
		next := i + length + 1
		text, whole := cutCR(p[i : next-1])
		if s.dotted(text) {
			s.hand(p[run:i])
			run = i
			switch {
			case len(text) == 1 && whole:
				return next, true
			case len(text) > 1:
				run, text = i+1, text[1:]
			}
		}
		s.check(text, nul)
		if !whole {
			s.hand(p[run : next-1])
			s.bareLF()
			run = next
		}
		s.line, s.afterLF = 0, !whole
		i = next
	}
	s.hand(p[run:i])
	return i + s.unfinished(p[i:], nul), false
}

// cutCR takes a CR from the end of text, where one is.
func cutCR(text []byte) (rest []byte, ok bool) {
	if n := len(text) - 1; n >= 0 && text[n] == '\r' {
		return text[:n], true
	}
	return text, false
}

// unfinished takes the beginning of a line whose end has not come yet, except
// for a CR at its end and for a dot that may be the final one.
func (s *lineScanner) unfinished(text []byte, nul bool) (used int) {
	text, _ = cutCR(text)
	used = len(text)
	if s.dotted(text) {
		if used == 1 {
			return 0
		}
		text = text[1:]
	}
	s.check(text, nul)
	s.line += int64(len(text))
	s.hand(text)
	return used
}

// dotted reports whether text, the beginning of a line, begins with a dot of
// transparency or is the final one.
func (s *lineScanner) dotted(text []byte) bool {
	return s.dots && s.line == 0 && !s.afterLF && len(text) > 0 && text[0] == '.'
}

// endChunk tells that p, the last octets of a BDAT chunk that feed has left
// unused, are followed by no more of this chunk.
func (s *lineScanner) endChunk(p []byte) {
	if len(p) == 1 && p[0] == '\r' {
		s.heldCR = true
	}
}

// end tells that no octets follow at all (BDAT LAST).
func (s *lineScanner) end() {
	if s.heldCR {
		s.heldCR = false
		s.breakLine()
	}
}

func (s *lineScanner) check(text []byte, nul bool) {
	if n := s.line + int64(len(text)); n > min(s.maxLine, syntax.MaxLine) {
		s.checkLong(n)
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		s.breakLine()
	}
	if nul && bytes.IndexByte(text, 0) >= 0 {
		s.m.Refuse(replies.NUL())
	}
}

// checkLong looks at a line that has n octets now.
func (s *lineScanner) checkLong(n int64) {
	if s.line <= syntax.MaxLine && n > syntax.MaxLine { // once for each line
		s.long++
	}
	if n > s.maxLine {
		s.m.Refuse(replies.LineTooLong())
	}
}

// hand gives a run on, as long as nothing has been refused.
func (s *lineScanner) hand(run []byte) {
	if len(run) == 0 || s.m.Refusal != nil {
		return
	}
	if s.mending == nil {
		s.m.Take(run)
		return
	}
	for len(run) > 0 {
		n := copy((*s.mending)[s.held:], run)
		s.held += n
		if run = run[n:]; len(run) > 0 {
			s.handHeld()
		}
	}
}

// handHeld gives on what mending holds.
func (s *lineScanner) handHeld() {
	if s.held > 0 && s.m.Refusal == nil {
		s.m.Take((*s.mending)[:s.held])
	}
	s.held = 0
}

func (s *lineScanner) bareLF() {
	if !s.normalize {
		s.breakLine()
		return
	}
	s.mended = true
	if s.mending == nil {
		s.mending = bodyBuffers.Get().(*[]byte)
	}
	s.hand(crlf)
}

func (s *lineScanner) breakLine() {
	s.broken = true
	s.m.Refuse(replies.BareNewline())
}
