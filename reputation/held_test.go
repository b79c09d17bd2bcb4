package reputation

import (
	"fmt"
	"testing"
	"time"
)

func TestHeldDoublesUpToHalfAnHour(t *testing.T) {
	c := newClock()
	h := NewHeld(c.now)
	var got []time.Duration
	for range 8 {
		h.Refused("main", "mx.example", 0)
		left := h.Left("main", "mx.example")
		got = append(got, left)
		c.add(left)
		if h.Left("main", "mx.example") != 0 {
			t.Fatal("held beyond its time")
		}
	}
	if s := fmt.Sprint(got); s != "[1m0s 2m0s 4m0s 8m0s 16m0s 30m0s 30m0s 30m0s]" {
		t.Errorf("waits %s", s)
	}
	if h.Left("side", "mx.example") != 0 || h.Left("main", "other.example") != 0 {
		t.Error("another stream or destination waits")
	}
	c.add(3 * time.Hour)
	h.Refused("main", "mx.example", 0)
	if d := h.Left("main", "mx.example"); d != time.Minute {
		t.Errorf("after hours without a refusal: %v", d)
	}
}

func TestHeldTakesTheTimeThatTheReplyNames(t *testing.T) {
	c := newClock()
	h := NewHeld(c.now)
	h.Refused("main", "mx.example", 10*time.Minute)
	h.Refused("main", "mx.example", 0) // on its way when the first came
	if d := h.Left("main", "mx.example"); d != 10*time.Minute {
		t.Errorf("waits %v, want 10m", d)
	}
	h.Refused("main", "mx.example", 20*time.Minute)
	if d := h.Left("main", "mx.example"); d != 20*time.Minute {
		t.Errorf("waits %v, want 20m", d)
	}
	h.Refused("main", "far.example", 1000*time.Hour)
	if d := h.Left("main", "far.example"); d != longestNamed {
		t.Errorf("waits %v, want at most %v", d, longestNamed)
	}
}

func TestHeldEndsWhenMailIsTaken(t *testing.T) {
	c := newClock()
	h := NewHeld(c.now)
	h.Refused("main", "mx.example", 0)
	h.Relayed("main", "mx.example") // of a connection that was open before
	if h.Left("main", "mx.example") == 0 {
		t.Error("a message that was under way ended the wait")
	}
	c.add(time.Minute)
	h.Relayed("main", "mx.example")
	h.Refused("main", "mx.example", 0)
	if d := h.Left("main", "mx.example"); d != time.Minute {
		t.Errorf("after mail was taken the next wait is %v, want 1m", d)
	}
}

func TestHeldPausesWholeStreams(t *testing.T) {
	c := newClock()
	h := NewHeld(c.now)
	h.Pause("main", c.now().Add(time.Hour))
	h.Refused("main", "mx.example", 0)
	if h.Left("main", "any.example") != time.Hour || h.Left("main", "mx.example") != time.Hour {
		t.Error("a paused stream does not wait")
	}
	if n := len(h.List()); n != 2 {
		t.Errorf("%d entries", n)
	}
	if !h.Resume("main") || h.Left("main", "any.example") != 0 || h.Left("main", "mx.example") != time.Minute {
		t.Error("Resume let the wrong mail go on")
	}
	if h.Resume("main") {
		t.Error("resumed twice")
	}
}

func TestHeldStaysBounded(t *testing.T) {
	c := newClock()
	h := NewHeld(c.now)
	for i := range maxHeld + 1000 {
		h.Refused("main", fmt.Sprintf("d%d.example", i), 0)
	}
	if n := len(h.pairs); n > maxHeld {
		t.Errorf("%d pairs", n)
	}
}
