package mail

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestEventsStayBounded whatever a receiver writes to each of many recipients.
func TestEventsStayBounded(t *testing.T) {
	long := strings.Repeat("no \u00e4 ", 2000)
	e := Event{Reply: long, Err: long, To: make([]RecipientEvent, 100)}
	for i := range e.To {
		e.To[i].Reply = long
	}
	e.Bound()
	if text, err := json.Marshal(&e); err != nil || len(text) > 64<<10 {
		t.Errorf("%d octets, %v", len(text), err)
	}
	if n := len(e.To[0].Reply); n < 900 || !strings.HasSuffix(e.To[0].Reply, "...") {
		t.Errorf("the first has %d octets, %q", n, e.To[0].Reply)
	}
	if n := len(e.To[99].Reply); n < 150 {
		t.Errorf("the last has %d octets", n)
	}
	e = Event{Reply: "250 ok", To: []RecipientEvent{{Reply: "ok"}}}
	if e.Bound(); e.Reply != "250 ok" || e.To[0].Reply != "ok" {
		t.Errorf("%+v", e)
	}
}
