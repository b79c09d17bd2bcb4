package ratelimit

import (
	"testing"
	"time"
)

func testOnce(t *testing.T, bed testBed) {
	l := bed.limiter(t, nil)
	const week = 7 * 24 * time.Hour
	once := func(client, to string) func() {
		t.Helper()
		release, err := l.Once(t.Context(), client, to, week)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	if once("shop", "a@x.example") == nil {
		t.Fatal("the first time is refused")
	}
	if once("shop", "a@x.example") != nil {
		t.Error("sent twice")
	}
	if once("other", "a@x.example") == nil {
		t.Error("another client may not")
	}
	release := once("shop", "c@x.example")
	release()
	release()
	if once("shop", "c@x.example") == nil {
		t.Error("not given back")
	}
	bed.clock.add(week - time.Minute)
	if once("shop", "a@x.example") != nil {
		t.Error("forgotten within the week")
	}
	bed.clock.add(time.Minute + time.Second)
	if once("shop", "a@x.example") == nil {
		t.Error("remembered for longer than a week")
	}
	if states, err := l.Show(t.Context(), Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("claims are shown as limits: %+v, %v", states, err)
	}
}
