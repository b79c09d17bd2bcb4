package eventlog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/internal/plain"
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
	case v.Kind() == reflect.Pointer:
		if f.next()%2 == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(t, v.Elem())
		}
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
	case v.CanFloat():
		v.SetFloat(float64(f.next()) / 16)
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

// FuzzLineIsReadBack: each event is one line, and what is read back is what
// encoding/json makes of it.
func FuzzLineIsReadBack(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var e mail.Event
		(&filler{in}).fill(t, reflect.ValueOf(&e).Elem())
		want, err := json.Marshal(&e)
		if err != nil {
			return // a time that has no text
		}
		var ref mail.Event
		if err := json.Unmarshal(want, &ref); err != nil {
			t.Fatal(err)
		}
		w := &Writer{failed: time.Unix(1, 0)} // the line stays in memory
		w.Observe(&e)
		file := bytes.NewBuffer(w.pending)
		if !plain.IsPlain(w.pending) {
			t.Fatalf("a terminal would not just show %q", w.pending)
		}
		if n := bytes.Count(w.pending, []byte("\n")); n != 1 {
			t.Fatalf("%d lines: %q", n, w.pending)
		}
		var back mail.Event
		var d Damage
		if err := readLines("fuzz", file, &d, func(e *mail.Event) error { back = *e; return nil }); err != nil || d.Lines > 0 {
			t.Fatal(err, d)
		}
		if !reflect.DeepEqual(back, ref) {
			t.Fatalf("read back %+v, want %+v", back, ref)
		}
	})
}

// The line as operators' tools know it, letter by letter.
func TestLineIsThatOfEarlierReleases(t *testing.T) {
	const want = `{"time":"2026-01-02T03:04:05.678901234Z","duration":1234567,"id":"01kab3c4d5e6f7g8h9","client":"shop","client_ip":"192.0.2.17","listener":"127.0.0.1:2525","helo":"web1.shop.example","stream":"transactional","from":"orders@shop.example","authors":["orders@shop.example"],"message_id":"\u003c20260102030405.1234@web1.shop.example\u003e","to":[{"address":"customer@dest.example","outcome":"relayed","code":250,"status":"2.1.5","rule":"upstream","reply":"2.1.5 Ok"}],"size":2048,"stage":"forward","outcome":"relayed","code":250,"status":"2.0.0","rule":"upstream","upstream":"provider","host":"smtp.provider.example:587","reply":"250 2.0.0 Ok: queued as 4F2c1k3hQwz1","limits":[{"limit":"sender","key":"sender=orders@shop.example","unit":"messages","window":60000000000,"max":5000,"used":17},{"limit":"sender","key":"sender=orders@shop.example","unit":"messages","window":3600000000000,"max":5000,"used":17},{"limit":"sender","key":"sender=orders@shop.example","unit":"messages","window":86400000000000,"max":5000,"used":17}]}` + "\n"
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
	w := open(t, cfg)
	w.Observe(ordinary())
	w.Close()
	if got, _ := os.ReadFile(cfg.File); string(got) != want {
		t.Errorf("line\n%s, want\n%s", got, want)
	}
	if err := os.WriteFile(cfg.File, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Read([]string{cfg.File}, nil, func(e *mail.Event) error {
		if !reflect.DeepEqual(e, ordinary()) {
			t.Errorf("read %+v", e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A time without a text is refused by a log line, and the next event is kept.
func TestEventWithoutATimeInRFC3339IsNotWritten(t *testing.T) {
	cfg := Config{File: filepath.Join(t.TempDir(), "j.jsonl"), RotateSize: 1 << 20}
	var log strings.Builder
	w := Open(cfg, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: clock()})
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

func BenchmarkObserve(b *testing.B) {
	w := Open(Config{File: filepath.Join(b.TempDir(), "j.jsonl"), RotateSize: 256 << 20, Keep: 1}, Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	defer w.Close()
	e := ordinary()
	b.ReportAllocs()
	for b.Loop() {
		w.Observe(e)
	}
}
