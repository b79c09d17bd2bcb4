package smtpd

import (
	"bytes"
	"strings"
	"testing"

	"postern/relay/replies"
)

// scanned is what came of a whole input.
type scanned struct {
	out     string
	rest    string // octets after the final dot
	done    bool
	refusal string
	broken  bool
}

// scanAll feeds in to a scanner in pieces of the given sizes, over and over, as
// a session does: what is left unused is fed again with more behind it.
func scanAll(s *lineScanner, in []byte, sizes ...int) (r scanned) {
	var out bytes.Buffer
	s.m = &Message{Take: func(run []byte) { out.Write(run) }}
	if s.maxLine == 0 {
		s.maxLine = 1 << 20
	}
	var pending []byte
	for i := 0; len(in) > 0 && !r.done; i++ {
		n := min(len(in), max(1, sizes[i%len(sizes)]))
		pending = append(pending, in[:n]...)
		in = in[n:]
		var used int
		used, r.done = s.feed(pending)
		pending = pending[used:]
	}
	if !s.dots {
		s.endChunk(pending)
		s.end()
	}
	r.out, r.rest = out.String(), string(pending)+string(in)
	if s.m.Refusal != nil {
		r.refusal = s.m.Refusal.Text
	}
	r.broken = s.broken
	return r
}

func TestScannerOnlyCRLFDotCRLFEndsAMessage(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		normalize bool
		want      scanned
	}{
		{"plain", "a\r\nb\r\n.\r\nNEXT", false, scanned{out: "a\r\nb\r\n", rest: "NEXT", done: true}},
		{"empty message", ".\r\nNEXT", false, scanned{rest: "NEXT", done: true}},
		{"dots of transparency go", "..a\r\n...\r\n.b\r\n.\r\n", false, scanned{out: ".a\r\n..\r\nb\r\n", done: true}},
		{"empty lines stay", "\r\n\r\na\r\n\r\n.\r\n", false, scanned{out: "\r\n\r\na\r\n\r\n", done: true}},
		{"LF dot LF", "a\r\nb\n.\nMAIL\r\n.\r\n", true, scanned{out: "a\r\nb\r\n.\r\nMAIL\r\n", done: true}},
		{"LF dot CRLF", "a\n.\r\nb\r\n.\r\n", true, scanned{out: "a\r\n.\r\nb\r\n", done: true}},
		{"CRLF dot LF", "a\r\n.\nb\r\n.\r\n", true, scanned{out: "a\r\n.\r\nb\r\n", done: true}},
		{"bare LF becomes CR LF", "a\nb\n\nc\r\n.\r\n", true, scanned{out: "a\r\nb\r\n\r\nc\r\n", done: true}},
	} {
		for _, sizes := range [][]int{{1000}, {1}, {2}, {3}, {1, 2, 3, 5}} {
			got := scanAll(&lineScanner{dots: true, normalize: c.normalize}, []byte(c.in), sizes...)
			if got != c.want {
				t.Errorf("%s, in pieces of %v: %+v, want %+v", c.name, sizes, got, c.want)
			}
		}
	}
}

func TestScannerRefusesDoubtfulNewlines(t *testing.T) {
	for _, in := range []string{
		"a\nb\r\n.\r\n", "a\n.\nb\r\n.\r\n", "a\n.\r\nb\r\n.\r\n", "a\r\n.\nb\r\n.\r\n", "a\r.\rb\r\n.\r\n", "a\r.\r\nb\r\n.\r\n",
		"a\r\r\n.\r\n", "a\r\n.\r\r\nb\r\n.\r\n", "\r\r\n\r\r\n.\r\r\n.\r\n", "\n.\r\n", ".\n.\r\n", "\r.\r\n.\r\n", ".\r.\r\n.\r\n",
	} {
		for _, sizes := range [][]int{{1000}, {1}, {2}, {3}} {
			got := scanAll(&lineScanner{dots: true}, []byte(in), sizes...)
			if !got.broken || got.refusal != replies.BareNewline().Text {
				t.Errorf("%q in pieces of %v: %+v, want it refused as broken", in, sizes, got)
			}
		}
	}
	for _, in := range []string{"a\rb\r\n.\r\n", "a\r\r\n.\r\n", "\r\n.\r\r\n.\r\n"} {
		if got := scanAll(&lineScanner{dots: true, normalize: true}, []byte(in), 1000); !got.broken {
			t.Errorf("%q: normalize lets a bare CR pass: %+v", in, got)
		}
	}
}

func TestScannerRefusesNULAndLongLinesInStep(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct{ name, in, refusal string }{
		{"NUL", "a\x00b\r\n.\r\nQUIT", replies.NUL().Text},
		{"line over the limit", long + "y\r\n.\r\nQUIT", replies.LineTooLong().Text},
		{"line at the limit", long + "\r\n.\r\nQUIT", ""},
		{"line at the limit behind a dot", "." + long + "\r\n.\r\nQUIT", ""},
	} {
		for _, sizes := range [][]int{{1000}, {1}, {7}} {
			got := scanAll(&lineScanner{dots: true, maxLine: 100}, []byte(c.in), sizes...)
			if got.refusal != c.refusal || !got.done || got.rest != "QUIT" && sizes[0] == 1000 || got.broken {
				t.Errorf("%s in pieces of %v: %+v", c.name, sizes, got)
			}
		}
	}
}

// TestScannerCountsLongLines however they come.
func TestScannerCountsLongLines(t *testing.T) {
	for n, want := range map[int]int{998: 0, 999: 2, 5000: 2} {
		in := strings.Repeat(strings.Repeat("x", n)+"\r\nshort\r\n", 2) + ".\r\n"
		for _, sizes := range [][]int{{1 << 20}, {1}, {7}, {998, 2}} {
			s := &lineScanner{dots: true}
			if scanAll(s, []byte(in), sizes...); s.long != want {
				t.Errorf("lines of %d in pieces of %v: %d counted, want %d", n, sizes, s.long, want)
			}
		}
	}
}

func TestScannerTakesChunksAsTheyAre(t *testing.T) {
	for _, in := range []string{".\r\n", "..a\r\n.\r\nb", "no end", "a\r\n\r\n", ""} {
		for _, sizes := range [][]int{{1000}, {1}, {2}} {
			got := scanAll(&lineScanner{}, []byte(in), sizes...)
			if got.out != in || got.done || got.refusal != "" {
				t.Errorf("%q in pieces of %v: %+v", in, sizes, got)
			}
		}
	}
	for _, in := range []string{"a\nb", "a\rb", "a\r", "\r\r\n"} {
		if got := scanAll(&lineScanner{}, []byte(in), 1000); !got.broken {
			t.Errorf("%q: %+v, want it refused", in, got)
		}
	}
}

// A CR at the end of one chunk and LF at the start of the next are one newline.
func TestScannerJoinsNewlinesAcrossChunks(t *testing.T) {
	var out bytes.Buffer
	s := &lineScanner{maxLine: 100, m: &Message{Take: func(run []byte) { out.Write(run) }}}
	for _, chunk := range []string{"a\r", "\nb\r", "\n", "\r", "\nc"} {
		n, _ := s.feed([]byte(chunk))
		s.endChunk([]byte(chunk)[n:])
	}
	s.end()
	if out.String() != "a\r\nb\r\n\r\nc" || s.m.Refusal != nil {
		t.Errorf("got %q, refusal %v", out.String(), s.m.Refusal)
	}
}

// TestScannerMendsInLargeRuns: bare LF costs no call for each line, which would be a
// write to the file of the body.
func TestScannerMendsInLargeRuns(t *testing.T) {
	calls, octets := 0, 0
	s := &lineScanner{dots: true, normalize: true, maxLine: 1000, m: &Message{Take: func(run []byte) { calls, octets = calls+1, octets+len(run) }}}
	piece := bytes.Repeat([]byte("\n"), bodyBuffer)
	for range 10 {
		s.feed(piece)
	}
	if octets != 20*bodyBuffer || calls > 40 || s.mending != nil {
		t.Errorf("%d octets in %d calls", octets, calls)
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\nb", "a\n.\nb\r\n.\r\n", "..\r\n.\r\r\n", "\x00\r\n.\r\n", ".\r\n"} {
		f.Add([]byte(s), uint8(1), true, false, false)
		f.Add([]byte(s), uint8(3), true, true, false)
		f.Add([]byte(s), uint8(2), false, false, false)
		f.Add([]byte(s), uint8(1), true, true, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8, dots, normalize, behindLF bool) {
		whole := scanAll(&lineScanner{dots: dots, normalize: normalize, maxLine: 50, afterLF: behindLF}, in, len(in)+1)
		pieces := scanAll(&lineScanner{dots: dots, normalize: normalize, maxLine: 50, afterLF: behindLF}, in, int(size))
		if whole.done != pieces.done || (whole.refusal == "") != (pieces.refusal == "") || whole.broken != pieces.broken || whole.rest != pieces.rest && whole.done {
			t.Fatalf("whole %+v, pieces %+v", whole, pieces)
		}
		if whole.refusal == "" && whole.out != pieces.out {
			t.Fatalf("whole %q, pieces %q", whole.out, pieces.out)
		}
		clean := strings.ReplaceAll(whole.out, "\r\n", "")
		if strings.ContainsAny(clean, "\r\n\x00") {
			t.Fatalf("not clean: %q", whole.out)
		}
		if !dots {
			return
		}
		before := "\r\n"
		if behindLF {
			before = "x\n"
		}
		end := bytes.Index(append([]byte(before), in...), []byte("\r\n.\r\n"))
		if whole.done != (end >= 0) {
			t.Fatalf("final dot seen: %v, there: %v", whole.done, end >= 0)
		}
		if whole.done && whole.rest != string(in[end+3:]) {
			t.Fatalf("rest %q, want %q", whole.rest, in[end+3:])
		}
	})
}
