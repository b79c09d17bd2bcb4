package ratelimit

import (
	"testing"
	"time"
)

func testOnce(t *testing.T, bed testBed) {
	l := bed.limiter(t, nil)
	const week = 7 * 24 * time.Hour
	once := func(client string, to ...string) (*Noted, string) {
		t.Helper()
		n, already, err := l.Once(t.Context(), client, to, week)
		if err != nil {
			t.Fatal(err)
		}
		return n, already
	}
	if n, already := once("shop", "a@x.example", "b@x.example", "a@x.example"); already != "" || n == nil {
		t.Fatalf("first time: %q", already)
	}
	if _, already := once("shop", "c@x.example", "b@x.example"); already != "b@x.example" {
		t.Errorf("second time: %q", already)
	}
	if _, already := once("other", "b@x.example"); already != "" {
		t.Errorf("another client: %q", already)
	}
	n, already := once("shop", "c@x.example")
	if already != "" {
		t.Errorf("one that was refused beside another: %q", already)
	}
	for range 2 {
		if err := n.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, already := once("shop", "c@x.example"); already != "" {
		t.Error("not forgotten")
	}
	if _, already := once("shop"); already != "" {
		t.Error("nobody was written to before")
	}
	bed.clock.add(week - time.Minute)
	if _, already := once("shop", "a@x.example"); already == "" {
		t.Error("forgotten within the week")
	}
	bed.clock.add(time.Minute + time.Second)
	if _, already := once("shop", "a@x.example"); already != "" {
		t.Error("remembered for longer than a week")
	}
	if states, err := l.Show(t.Context(), Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("notes are shown as limits: %+v, %v", states, err)
	}
}
