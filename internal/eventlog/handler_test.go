package eventlog

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/internal/plain"
	"postern/mail"
)

func transactionEvent() *mail.Event {
	return &mail.Event{ID: "01kab3c4d5e6f7g8h9", Client: "shop", ClientIP: "192.0.2.17", Helo: "web1.shop.example", Stream: "transactional",
		From: "<orders+a=b@shop.example>", To: []mail.RecipientEvent{{Address: "customer@dest.example"}, {Address: "\"a b\"@dest.example"}}, Size: 2048,
		Stage: "forward", Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "provider",
		Reply: "250 2.0.0 Ok: queued as 4F2c1k3hQwz1", Duration: 3 * time.Millisecond}
}

// observed is what a log of that format and level has of the event, behind the
// time.
func observed(json bool, level slog.Level, e *mail.Event) string {
	var b bytes.Buffer
	lines := NewLineWriter(&b)
	NewLogObserver(slog.New(NewLogHandler(lines, json, level))).Observe(e)
	lines.Close()
	_, line, _ := strings.Cut(b.String(), "INFO")
	return line
}

// The whole line in both formats, letter by letter: operators have tools that
// read it.
func TestTransactionLineIsThatOfEarlierReleases(t *testing.T) {
	const text = ` msg=transaction id=01kab3c4d5e6f7g8h9 client=shop client_ip=192.0.2.17 helo=web1.shop.example user="" stream=transactional from="<orders+a=b@shop.example>" to="customer@dest.example,\"a b\"@dest.example" to_count=2 size=2048 stage=forward outcome=relayed code=250 status=2.0.0 rule=upstream upstream=provider reply="250 2.0.0 Ok: queued as 4F2c1k3hQwz1" ms=3` + "\n"
	const json = `","msg":"transaction","id":"01kab3c4d5e6f7g8h9","client":"shop","client_ip":"192.0.2.17","helo":"web1.shop.example","user":"","stream":"transactional","from":"<orders+a=b@shop.example>","to":"customer@dest.example,\"a b\"@dest.example","to_count":2,"size":2048,"stage":"forward","outcome":"relayed","code":250,"status":"2.0.0","rule":"upstream","upstream":"provider","reply":"250 2.0.0 Ok: queued as 4F2c1k3hQwz1","ms":3}` + "\n"
	if got := observed(false, slog.LevelInfo, transactionEvent()); got != text {
		t.Errorf("text\n%s, want\n%s", got, text)
	}
	if got := observed(true, slog.LevelInfo, transactionEvent()); got != json {
		t.Errorf("JSON\n%s, want\n%s", got, json)
	}
}

func TestTransactionLineObeysTheLevelOfTheLog(t *testing.T) {
	if got := observed(false, slog.LevelWarn, transactionEvent()); got != "" {
		t.Errorf("line %q", got)
	}
}

// Each octet, alone in a field and in the reply, leaves one line without
// controls.
func TestTransactionLineQuotesEachOctet(t *testing.T) {
	for c := range 256 {
		e := transactionEvent()
		e.Helo = "a" + string([]byte{byte(c)}) + "b"
		e.Reply = e.Helo
		for _, format := range []bool{false, true} {
			line := observed(format, slog.LevelInfo, e)
			if strings.Count(line, "\n") != 1 || strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' }) >= 0 {
				t.Errorf("octet %#x: %q", c, line)
			}
			if format && !json.Valid([]byte(`{"time":"","level":"INFO`+line)) {
				t.Errorf("octet %#x: no JSON: %s", c, line)
			}
		}
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

func BenchmarkTransactionLine(b *testing.B) {
	for _, row := range []struct {
		name string
		json bool
	}{{"text", false}, {"JSON", true}} {
		b.Run(row.name, func(b *testing.B) {
			lines := NewLineWriter(io.Discard)
			defer lines.Close()
			o := NewLogObserver(slog.New(NewLogHandler(lines, row.json, slog.LevelInfo)))
			b.ReportAllocs()
			for b.Loop() {
				o.Observe(transactionEvent())
			}
		})
	}
}

// TestLogLinesDoNothingToATerminal: text and JSON alike, whoever said what is in
// them.
func TestLogLinesDoNothingToATerminal(t *testing.T) {
	const bad = "a\u009b2J\u202e\u2066\x1b[31m\x7f\U000e0041\x9bb"
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		lines := NewLineWriter(&out)
		log := slog.New(NewLogHandler(lines, json, slog.LevelInfo))
		NewLogObserver(log).Observe(&mail.Event{ID: "x", Helo: bad, From: bad, Reply: bad, To: []mail.RecipientEvent{{Address: bad}}})
		log.Warn(bad, "err", bad)
		lines.Close()
		if !plain.IsPlain(out.Bytes()) || !strings.Contains(out.String(), "202e") {
			t.Errorf("json %v: %q", json, out.String())
		}
	}
}
