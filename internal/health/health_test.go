package health_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/internal/health"
)

// bench is a Health with a clock that stands, and its log.
type bench struct {
	*health.Health
	now time.Time
	log bytes.Buffer
}

func newBench() *bench {
	b := &bench{now: time.Unix(1_800_000_000, 0)}
	b.Health = health.New(slog.New(slog.NewTextHandler(&b.log, nil)), func() time.Time { return b.now })
	return b
}

func (b *bench) lines() int { return strings.Count(b.log.String(), "\n") }

func TestHealthTellsTheBeginningAndTheEndOnce(t *testing.T) {
	b, full := newBench(), errors.New("no space left on device")
	if r := b.Reasons(); len(r) != 0 {
		t.Fatalf("reasons of a new node: %v", r)
	}
	began := b.now
	for range 100 { // small writes go well between large ones
		b.Report(health.State, "limits", full)
		b.now = b.now.Add(time.Second)
		b.Report(health.State, "outlier", full)
		b.Report(health.State, "outlier", nil)
		b.Report(health.State, "limits", nil)
		b.now = b.now.Add(8 * time.Second)
	}
	if b.lines() != 1 || !strings.Contains(b.log.String(), "level=ERROR") {
		t.Errorf("a trouble that comes and goes is to be one line, not\n%s", b.log.String())
	}
	r := b.Reasons()
	if len(r) != 1 || r[0].What != health.State || !r[0].Since.Equal(began) {
		t.Fatalf("reasons %v, want the state since %v", r, began)
	}
	b.now = b.now.Add(time.Minute)
	if r := b.Reasons(); len(r) != 0 || b.lines() != 2 {
		t.Errorf("after a minute without a failure: %v and the log\n%s", r, b.log.String())
	}
}

func TestHealthWaitsForEachPartThatFailed(t *testing.T) {
	b := newBench()
	b.Report(health.State, "limits", errors.New("read-only file system"))
	b.Report(health.State, "listings", errors.New("no space"))
	b.Report(health.Journal, "file", errors.New("gone"))
	b.Report(health.State, "limits", nil)
	b.now = b.now.Add(time.Hour)
	r := b.Reasons()
	if len(r) != 2 || r[0].What != health.Journal || r[1].Text != "listings: no space" {
		t.Errorf("reasons %+v", r)
	}
	b.Report(health.State, "listings", nil)
	if r := b.Reasons(); len(r) != 1 {
		t.Errorf("reasons %+v, want the journal only", r)
	}
}

func TestHealthOutlivesAClockThatStepsBack(t *testing.T) {
	b := newBench()
	b.Report(health.State, "limits", errors.New("full"))
	b.Report(health.State, "limits", nil)
	b.now = b.now.Add(-time.Hour)
	b.Reasons()
	b.now = b.now.Add(11 * time.Second)
	if r := b.Reasons(); len(r) != 0 {
		t.Errorf("a trouble holds for as long as the clock was set back: %v", r)
	}
}
