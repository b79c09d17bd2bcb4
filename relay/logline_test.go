package relay

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// slogLine is what slog makes of the event.
func slogLine(json bool, at time.Time, e *mail.Event) string {
	var b bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&b, nil)
	if json {
		h = slog.NewJSONHandler(&b, nil)
	}
	r := slog.NewRecord(at, slog.LevelInfo, transactionMessage, 0)
	r.AddAttrs(transactionAttrs(e)...)
	h.Handle(context.Background(), r)
	return b.String()
}

// checkTransactionLine holds the line to slog's. What room keeps of one line
// must not be seen in the next.
func checkTransactionLine(t *testing.T, room *lineRoom, at time.Time, e *mail.Event) {
	t.Helper()
	for _, json := range []bool{false, true} {
		want := slogLine(json, at, e)
		if got := string(room.appendTransaction(nil, json, at, e)); got != want {
			t.Fatalf("line\n%s\nslog\n%s", got, want)
		}
	}
}

// FuzzTransactionLineIsThatOfSlog holds the line to slog's, octet by octet. The
// text is dealt out to the fields at its newlines, and as a whole to the reply.
func FuzzTransactionLineIsThatOfSlog(f *testing.F) {
	f.Add("", int64(0), 0, 0, 0)
	f.Add("id\nshop\n192.0.2.1\nweb.example\nuser\nmarketing\n<>\nrelayed\n2.0.0\nupstream\na@x.example\nb@x.example", int64(1767323045123456789), 2, 3600, 250)
	f.Add("a b\na=b\na\"b\na\\b\n\x00\n\x7f\n\u2028\n\u00a0\n\ufffd\n\xff\n\xc3(\n\U0001f600\ta\r=", int64(1767323045100000000), 9, -12345, -7)
	f.Add("\n\n\n\n\n\n\n\n\n\n\n", int64(999999), 1, 0, 0)
	f.Add(strings.Repeat("ü \n", 20), int64(-1), 6, 0, 0)
	var room lineRoom
	f.Fuzz(func(t *testing.T, text string, nanos int64, recipients, offset, code int) {
		fields := strings.Split(text, "\n")
		next := func() string {
			s := fields[0]
			fields = append(fields[1:], s)
			return s
		}
		at := time.Unix(0, nanos).In(time.FixedZone("", offset%50000))
		e := &mail.Event{ID: next(), Client: next(), ClientIP: next(), Helo: next(), User: next(), Stream: next(), From: next(), Stage: next(),
			Outcome: next(), Status: next(), Rule: next(), Upstream: next(), Reply: text, Size: nanos / 3, Code: code, Duration: time.Duration(nanos)}
		for range recipients & 7 {
			e.To = append(e.To, mail.RecipientEvent{Address: next()})
		}
		checkTransactionLine(t, &room, at, e)
		e.Reply = next()
		checkTransactionLine(t, &room, at, e)
	})
}

// Each octet, alone in a field, in an address and in the reply.
func TestTransactionLineQuotesEachOctetAsSlog(t *testing.T) {
	var room lineRoom
	for c := range 256 {
		s := "a" + string([]byte{byte(c)}) + "b"
		checkTransactionLine(t, &room, time.Unix(1, 0).UTC(), &mail.Event{Helo: s, Reply: s, To: []mail.RecipientEvent{{Address: "x"}, {Address: s}}})
	}
}

func transactionEvent() *mail.Event {
	return &mail.Event{ID: "01kab3c4d5e6f7g8h9", Client: "shop", ClientIP: "192.0.2.17", Helo: "web1.shop.example", Stream: "transactional",
		From: "<orders+a=b@shop.example>", To: []mail.RecipientEvent{{Address: "customer@dest.example"}, {Address: "\"a b\"@dest.example"}}, Size: 2048,
		Stage: "forward", Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "provider",
		Reply: "250 2.0.0 Ok: queued as 4F2c1k3hQwz1", Duration: 3 * time.Millisecond}
}

// Beneath the logger of serve, the observer's line is slog's but for the time,
// and obeys the level of the log.
func TestObserverWritesTheLineOfSlog(t *testing.T) {
	for _, json := range []bool{false, true} {
		var direct, others bytes.Buffer
		level := new(slog.LevelVar)
		lines := NewLineWriter(&direct)
		o := NewLogObserver(slog.New(NewLogHandler(lines, json, level)))
		o.Observe(transactionEvent())
		level.Set(slog.LevelWarn)
		o.Observe(transactionEvent())
		lines.Close()
		var h slog.Handler = slog.NewTextHandler(&others, nil)
		if json {
			h = slog.NewJSONHandler(&others, nil)
		}
		NewLogObserver(slog.New(h)).Observe(transactionEvent())
		_, got, _ := strings.Cut(direct.String(), "INFO")
		_, want, _ := strings.Cut(others.String(), "INFO")
		if got != want || want == "" {
			t.Errorf("line %q, want %q", got, want)
		}
	}
}

// Beneath the logger of serve, slog's own handler never sees the event.
func TestObserverOfServeGoesPastSlog(t *testing.T) {
	for _, json := range []bool{false, true} {
		var direct, past bytes.Buffer
		lines := NewLineWriter(&direct)
		h := NewLogHandler(lines, json, slog.LevelInfo)
		h.Handler = slog.NewTextHandler(&past, nil)
		NewLogObserver(slog.New(h)).Observe(transactionEvent())
		lines.Close()
		if direct.Len() == 0 || past.Len() != 0 {
			t.Errorf("json %v: %d octets written directly, %d by slog", json, direct.Len(), past.Len())
		}
	}
}

// Runes of more than one octet that slog treats apart, and halves of runes.
func TestTransactionLineQuotesRunesAsSlog(t *testing.T) {
	var room lineRoom
	for _, s := range []string{"\u2028", "\u2029", "\u00a0", "\u0085", "\u200b", "\ufeff", "\ufffd", "\u00fc", "\U0001f600",
		"\xff", "\xc3(", "\xe2\x80", "\xed\xa0\x80", "\xf0\x9f\x98", "\u00fc=", "\u00fc\"", "\u00fc "} {
		checkTransactionLine(t, &room, time.Unix(1, 0).UTC(), &mail.Event{Helo: s, Reply: "a" + s, To: []mail.RecipientEvent{{Address: "x"}, {Address: s}}})
	}
}

// A logger with attributes of its own keeps them in the line.
func TestObserverKeepsAttributesOfTheLogger(t *testing.T) {
	var b bytes.Buffer
	lines := NewLineWriter(&b)
	log := slog.New(NewLogHandler(lines, false, slog.LevelInfo))
	NewLogObserver(log.With("node", 7)).Observe(transactionEvent())
	NewLogObserver(log.WithGroup("g")).Observe(transactionEvent())
	lines.Close()
	if s := b.String(); !strings.Contains(s, "msg=transaction node=7 id=") || !strings.Contains(s, "msg=transaction g.id=") {
		t.Errorf("lines %s", s)
	}
}

// A line costs no memory, quoted fields included.
func TestTransactionLineAllocatesNothing(t *testing.T) {
	e := transactionEvent()
	var room lineRoom
	b := make([]byte, 0, 4096)
	for _, json := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() { room.appendTransaction(b, json, time.Unix(1, 0), e) }); n != 0 {
			t.Errorf("%v allocations a line", n)
		}
	}
}

func BenchmarkTransactionLine(b *testing.B) {
	usual := transactionEvent()
	usual.From, usual.To = "orders@shop.example", usual.To[:1]
	for _, row := range []struct {
		name string
		json bool
		e    *mail.Event
	}{{"text", false, usual}, {"JSON", true, usual}, {"quoted addresses", false, transactionEvent()}} {
		b.Run(row.name, func(b *testing.B) {
			lines := NewLineWriter(io.Discard)
			defer lines.Close()
			o := NewLogObserver(slog.New(NewLogHandler(lines, row.json, slog.LevelInfo)))
			b.ReportAllocs()
			for b.Loop() {
				o.Observe(row.e)
			}
		})
	}
}
