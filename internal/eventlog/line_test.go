package eventlog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"postern/mail"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// lockedBuffer takes a log that several sessions write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The fields of a transaction's line, which operators' tools read.
func TestLogLineHasItsFieldsInOrder(t *testing.T) {
	const want = "id client client_ip helo user stream from to to_count size stage outcome code status rule upstream reply ms"
	var b bytes.Buffer
	o := NewLogObserver(slog.New(slog.NewJSONHandler(&b, nil)))
	o.Observe(&mail.Event{ID: "x", To: []mail.RecipientEvent{{Address: "b@dest.example"}}})
	var names []string
	d := json.NewDecoder(&b)
	d.Token()
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		d.Token()
	}
	if got := strings.Join(names, " "); got != "time level msg "+want {
		t.Errorf("fields %s", got)
	}
}

// Where recipients were refused the class of what decided and a count of each
// kind stand behind the other fields.
func TestLogLineCountsRefusals(t *testing.T) {
	e := &mail.Event{ID: "x", Class: "no-such-user"}
	for i := range 12 {
		e.To = append(e.To, mail.RecipientEvent{Address: "b@dest.example", Outcome: mail.Rejected, Code: 550, Status: "5.1." + strconv.Itoa(i/2), Rule: "upstream", Class: "no-such-user"})
	}
	var b bytes.Buffer
	NewLogObserver(slog.New(slog.NewTextHandler(&b, nil))).Observe(e)
	const kind = " by upstream/no-such-user 550 5.1."
	want := ` class=no-such-user refused="2` + kind + "0, 2" + kind + "1, 2" + kind + "2, 2" + kind + "3, 2" + kind + `4, ..."` + "\n"
	if _, got, _ := strings.Cut(b.String(), " ms=0"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLogLineTellsTheCause: why a message waits stands in its line, not only in the
// journal, and cannot forge another one.
func TestLogLineTellsTheCause(t *testing.T) {
	var b bytes.Buffer
	o := NewLogObserver(slog.New(slog.NewTextHandler(&b, nil)))
	o.Observe(&mail.Event{Client: "mta", Stage: mail.StageRcpt, Code: 451, Err: "mx.dest.example: connection refused\r\nlevel=ERROR"})
	if got := b.String(); !strings.Contains(got, " err=\"mx.dest.example: connection refused") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
}

// Of many recipients a line names a few.
func TestLogLineIsBounded(t *testing.T) {
	var b bytes.Buffer
	e := &mail.Event{}
	for range 1000 {
		e.To = append(e.To, mail.RecipientEvent{Address: strings.Repeat("x", 64) + "@dest.example"})
	}
	NewLogObserver(slog.New(slog.NewTextHandler(&b, nil))).Observe(e)
	if b.Len() > 1000 || !strings.Contains(b.String(), "to_count=1000") {
		t.Errorf("line of %d octets: %s", b.Len(), &b)
	}
}
