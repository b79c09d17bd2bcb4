package share

import (
	"fmt"
	"testing"
	"time"
)

func TestMay(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name        string
		connections int
		has, more   int
		other       string        // a client that wanted one
		ago         time.Duration // so long ago
		want        bool
	}{
		{"up to three quarters beside another", 8, 5, 1, "b", 0, true},
		{"beyond three quarters beside another", 8, 6, 1, "b", 0, false},
		{"several at once beyond three quarters", 8, 5, 2, "b", 0, false},
		{"several at once of a client that has none", 8, 0, 8, "b", 0, true},
		{"alone", 8, 7, 1, "a", 0, true},
		{"beside the relay itself", 8, 7, 1, "", 0, true},
		{"another within the hour", 8, 6, 1, "b", memory - 1, false},
		{"another an hour ago", 8, 6, 1, "b", memory, true},
		{"a single connection", 1, 0, 1, "b", 0, true},
		{"two connections", 2, 1, 1, "b", 0, false},
		{"no bound", 0, 100, 1, "b", 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := New(row.connections)
			s.Wants(row.other, now.Add(-row.ago))
			s.Wants("a", now)
			s.Took("a", row.has)
			if got := s.May("a", row.more, now); got != row.want {
				t.Errorf("got %v", got)
			}
		})
	}
	s := New(4)
	s.Wants("b", now.Add(-2*memory))
	s.Took("b", 1)
	s.Wants("a", now)
	s.Took("a", 3)
	if s.May("a", 1, now) {
		t.Error("who has a connection for long is not seen")
	}
	s.Left("b", 1)
	if !s.May("a", 1, now) {
		t.Error("who gave its connection back is still seen")
	}
}

// TestClientsOfThePastAreForgotten while those with connections stay.
func TestClientsOfThePastAreForgotten(t *testing.T) {
	s, now := New(8), time.Now()
	s.Wants("busy", now)
	s.Took("busy", 6)
	for i := range 100 * fewClients {
		s.Wants(fmt.Sprint(i), now.Add(time.Duration(i)*time.Minute))
	}
	if len(s.of) > 3*fewClients {
		t.Errorf("%d clients are kept, 60 of which count", len(s.of))
	}
	last := now.Add(100 * fewClients * time.Minute)
	if s.May("busy", 1, last) {
		t.Error("a client is taken for alone")
	}
	s.Left("busy", 6)
}
