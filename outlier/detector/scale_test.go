package detector

import "testing"

// TestEaseFallsUntilItIsOver: who is new needs more evidence, less so from day to
// day; clients are never eased, whatever their age.
func TestEaseFallsUntilItIsOver(t *testing.T) {
	for _, row := range []struct {
		name string
		s    *scale
		age  int64 // in days
		want float32
	}{
		{"the first day", &senderScale, 0, 1.6},
		{"half of it", &senderScale, 30, 1.3},
		{"its end", &senderScale, 60, 1},
		{"long after", &senderScale, 700, 1},
		{"a client's first day", &clientScale, 0, 1},
		{"an old client", &clientScale, 700, 1},
		{"names of an old client", &clientNamesScale, 700, 1},
	} {
		m := meter{born: 10, last: uint32((10 + row.age) * daySeconds)}
		if got := m.ease(row.s); got < row.want-0.001 || got > row.want+0.001 {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
		e := [kinds]evidence{{value: 2}}
		if got := (&tuning{sensitivity: 1}).score(&m, &e, row.s) * row.want; got < 1.999 || got > 2.001 {
			t.Errorf("%s: score of 2 becomes %v times the ease", row.name, got)
		}
	}
}

// TestRefusalsAloneAreNoAlarmOfAClient: many honest senders share them.
func TestRefusalsAloneAreNoAlarmOfAClient(t *testing.T) {
	var m meter
	sums := table{refused: {1000, 1000, 1000}}
	var e [kinds]evidence
	m.judge(&sums, nil, &clientScale, nil, &e)
	if e[refused].value <= 0.5 || e[refused].value >= 1 {
		t.Errorf("a thousand refused recipients are evidence of %v, want below 1", e[refused].value)
	}
}

// TestSomeRefusalsAreGranted: whoever writes to many is refused by some.
func TestSomeRefusalsAreGranted(t *testing.T) {
	for _, row := range []struct {
		name          string
		s             *scale
		sent, refused float32
		want          bool
	}{
		{"a newsletter's 500", &senderScale, 500, 10, false},
		{"a newsletter's 500, and nobody else sends", &aloneScale, 500, 10, false},
		{"twice the grant", &senderScale, 500, 40, true},
		{"few recipients", &senderScale, 20, 3, true},
		{"a client has its own numbers", &clientScale, 500, 19, true},
	} {
		var m meter
		var e [kinds]evidence
		m.judge(&table{sent: {day: row.sent}, refused: {day: row.refused}}, nil, row.s, nil, &e)
		if got := e[refused].value > 0; got != row.want {
			t.Errorf("%s: evidence %v", row.name, e[refused].value)
		}
	}
}
