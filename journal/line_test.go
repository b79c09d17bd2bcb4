package journal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// filler sets fields of an event from the octets of a fuzzer.
type filler struct{ in []byte }

func (f *filler) next() byte {
	if len(f.in) == 0 {
		return 0
	}
	c := f.in[0]
	f.in = f.in[1:]
	return c
}

func (f *filler) text() string {
	n := min(int(f.next()%24), len(f.in))
	s := string(f.in[:n])
	f.in = f.in[n:]
	return s
}

// fill sets v, whatever fields it may get in later years.
func (f *filler) fill(t testing.TB, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		zone := time.FixedZone("", (int(f.next())-128)*907)
		v.Set(reflect.ValueOf(time.Unix(int64(f.next())<<26, int64(f.next())*3_907_123).In(zone)))
	case v.Kind() == reflect.String:
		v.SetString(f.text())
	case v.Kind() == reflect.Bool:
		v.SetBool(f.next()%2 == 1)
	case v.CanInt():
		v.SetInt((int64(f.next()) - 128) << (f.next() % 56))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		n := int(f.next() % 5)
		if n == 4 {
			return // nil
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(t, v.Index(i))
		}
	default:
		t.Fatalf("the test cannot fill a %s", v.Type())
	}
}

// hostile holds every kind of octet that a string may need escaped.
const hostile = "a\"\\/<>&\b\f\n\r\t\x00\x1f\x7f\u0080\u2027\u2028\u2029\ufffd\U0001f600\xff\xc3(\xed\xa0\x80\xf0\x9f\x98"

func seeds() (seeds [][]byte) {
	seeds = append(seeds, nil, []byte(strings.Repeat("\x17"+hostile, 40)))
	for i := range byte(12) {
		s := make([]byte, 1500)
		for j := range s {
			s[j] = byte(j*j)*i + hostile[(j*int(i+3))%len(hostile)]
		}
		seeds = append(seeds, s)
	}
	return seeds
}

// FuzzLineIsThatOfEncodingJSON holds lines to json.Marshal octet by octet, and
// what is read back to what json.Unmarshal makes of it.
func FuzzLineIsThatOfEncodingJSON(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var e mail.Event
		(&filler{in}).fill(t, reflect.ValueOf(&e).Elem())
		want, wantErr := json.Marshal(&e)
		got, err := appendLine([]byte("x"), &e)
		if wantErr != nil || err != nil {
			if (wantErr != nil) != (err != nil) || string(got) != "x" {
				t.Fatalf("error %v, encoding/json: %v; left %q", err, wantErr, got)
			}
			return
		}
		if string(got) != "x"+string(want)+"\n" {
			t.Fatalf("line\n%s\nencoding/json\n%s", got[1:], want)
		}
		var back, ref mail.Event
		if err := json.Unmarshal(want, &ref); err != nil {
			t.Fatal(err)
		}
		if err := readLines("fuzz", strings.NewReader(string(got[1:])), func(e *mail.Event) error { back = *e; return nil }); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, ref) {
			t.Fatalf("read back %+v, want %+v", back, ref)
		}
	})
}

// Each octet, alone in a string, is written as encoding/json does.
func TestLineEscapesEachOctetAsEncodingJSON(t *testing.T) {
	for c := range 256 {
		s := "a" + string([]byte{byte(c)}) + "b"
		want, _ := json.Marshal(s)
		if got := appendField(nil, `"`, s); string(got) != string(want) {
			t.Errorf("octet %#x: %s, want %s", c, got, want)
		}
	}
}

// Each octet, at each place of texts of all lengths up to three times eight, and
// pairs of neighbours, of which one might hide the other.
func TestPlainLenIsThatOfTheTable(t *testing.T) {
	check := func(s []byte) {
		want := 0
		for want < len(s) && plain[s[want]] {
			want++
		}
		if got := plainLen(string(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	for n := range 25 {
		text := []byte(strings.Repeat("a", n))
		for i := range n {
			for c := range 256 {
				text[i] = byte(c)
				check(text)
			}
			text[i] = 'a'
		}
	}
	text := []byte("aaaaaaaa")
	for c := range 1 << 16 {
		text[3], text[4] = byte(c), byte(c>>8)
		check(text)
	}
}

// Runes of more than one octet that have escapes of their own, and halves of
// runes, each alone: the seeds of the fuzz target may cut through them.
func TestLineEscapesRunesAsEncodingJSON(t *testing.T) {
	for _, s := range []string{"\u2027", "\u2028", "\u2029", "\u202a", "\u0080", "\ufffd", "\U0001f600",
		"\xff", "\xc3(", "\xe2\x80", "\xed\xa0\x80", "\xf0\x9f\x98", "\xc0\xaf", hostile} {
		want, _ := json.Marshal("a" + s + "b")
		if got := appendField(nil, `"`, "a"+s+"b"); string(got) != string(want) {
			t.Errorf("%+q: %s, want %s", s, got, want)
		}
	}
}

// A time without a text is refused by a log line, and the next event is kept.
func TestEventWithoutATimeInRFC3339IsNotWritten(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
	var log strings.Builder
	w, err := Open(cfg, slog.New(slog.NewTextHandler(&log, nil)), clock())
	if err != nil {
		t.Fatal(err)
	}
	w.Observe(&mail.Event{ID: "bad", Time: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)})
	w.Observe(&mail.Event{ID: "good"})
	w.Close()
	if got := ids(t, cfg.File); len(got) != 1 || got[0] != "good" || !strings.Contains(log.String(), "id=bad") {
		t.Errorf("journal has %v, log %s", got, &log)
	}
}

// ordinary is the event of a message that went through.
func ordinary() *mail.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	e := &mail.Event{Time: at, Duration: 1234567, ID: "01kab3c4d5e6f7g8h9", Client: "shop", ClientIP: "192.0.2.17", Listener: "127.0.0.1:2525",
		Helo: "web1.shop.example", Stream: "transactional", From: "orders@shop.example", Authors: []string{"orders@shop.example"},
		MessageID: "<20260102030405.1234@web1.shop.example>", Size: 2048, Stage: "forward", Outcome: mail.Relayed, Code: 250,
		Status: "2.0.0", Rule: "upstream", Upstream: "provider", Host: "smtp.provider.example:587", Reply: "250 2.0.0 Ok: queued as 4F2c1k3hQwz1",
		To: []mail.RecipientEvent{{Address: "customer@dest.example", Outcome: mail.Relayed, Code: 250, Status: "2.1.5", Rule: "upstream", Reply: "2.1.5 Ok"}}}
	for _, window := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		e.Limits = append(e.Limits, mail.LimitEvent{Limit: "sender", Key: "sender=orders@shop.example", Unit: "messages", Window: window, Max: 5000, Used: 17})
	}
	return e
}

// A line costs no memory once the buffer is there.
func TestObserveAllocatesNothing(t *testing.T) {
	w := open(t, Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 30})
	defer w.Close()
	e := ordinary()
	e.Reply += hostile
	w.Observe(e)
	if n := testing.AllocsPerRun(1000, func() { w.Observe(e) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// A line of unusual length does not keep its buffer.
func TestLongLineGivesItsRoomBack(t *testing.T) {
	w := open(t, Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 30})
	defer w.Close()
	e := ordinary()
	for i := range 1000 {
		e.To = append(e.To, mail.RecipientEvent{Address: fmt.Sprintf("r%d@%s.example", i, strings.Repeat("x", 200))})
	}
	w.Observe(e)
	if cap(w.scratch) > lineRoom {
		t.Errorf("%d octets are kept", cap(w.scratch))
	}
}

func BenchmarkObserve(b *testing.B) {
	w, err := Open(Config{File: filepath.Join(b.TempDir(), "j.jsonl"), RotateSize: 256 << 20, Keep: 1}, slog.New(slog.NewTextHandler(os.Stderr, nil)), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	e := ordinary()
	b.ReportAllocs()
	for b.Loop() {
		w.Observe(e)
	}
}

// BenchmarkLine is BenchmarkObserve without file and lock.
func BenchmarkLine(b *testing.B) {
	e, line := ordinary(), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		line, _ = appendLine(line[:0], e)
	}
}
