package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newBed(t testing.TB, clock *fakeClock) (testBed, *Embedded) {
	t.Helper()
	e := NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now)
	return testBed{Store: e, clock: clock, tick: 1}, e
}

func TestSnapshotKeepsCountsAndRaises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	hourly := reserved(20, time.Hour, Reserve{"transactional", 5})
	b := func(i int) Budget {
		b := budgetOf("sender", fmt.Sprintf("sender=s%d@example.org", i), win(Messages, 9, time.Minute), hourly, win(DistinctRecipients, 99, 24*time.Hour))
		if i%2 == 0 {
			b.Share = "transactional"
		}
		return b
	}
	for i := range 300 {
		for range i % 12 {
			bed.ask(t, Request{Recipients: 1, Distinct: hashRecipient("a")}, b(i))
			clock.add(time.Second)
		}
	}
	raise := Raise{Limit: "sender", Key: "sender=s1@example.org", Unit: Messages, Add: 3, Until: clock.now().Add(2 * time.Hour), Reason: "campaign"}
	if err := e.SetRaise(t.Context(), raise); err != nil {
		t.Fatal(err)
	}
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the snapshot: %v, %v", info.Mode(), err)
	}
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		want, got := bed.look(t, b(i)), again.look(t, b(i))
		for j := range want {
			if got[j] != want[j] {
				t.Fatalf("key %d window %d: got %+v, want %+v", i, j, got[j], want[j])
			}
		}
	}
	if list, _ := e2.Raises(t.Context()); len(list) != 1 || list[0].Reason != "campaign" {
		t.Errorf("raises after a restart: %+v", list)
	}
}

// A restart is a restart: what had passed out of its window is gone, the rest
// counts on, and a clock that was set back meanwhile forgets nothing.
func TestSnapshotCountsTheTimeBetween(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	for _, test := range []struct {
		pause time.Duration
		want  int64
	}{{0, 5}, {30 * time.Minute, 5}, {time.Hour, 0}, {-time.Hour, 5}, {-1000 * time.Hour, 5}, {10000 * time.Hour, 0}} {
		clock := newFakeClock()
		bed, e := newBed(t, clock)
		b := budgetOf("sender", "all", win(Recipients, 5, time.Hour))
		bed.fill(t, 5, b)
		if err := e.Save(path); err != nil {
			t.Fatal(err)
		}
		clock.add(test.pause)
		bed, e = newBed(t, clock)
		if err := e.Load(path); err != nil {
			t.Fatal(err)
		}
		r := bed.look(t, b)[0]
		if r.Used != test.want || r.Free > time.Hour {
			t.Errorf("after %s: %+v, want %d used", test.pause, r, test.want)
		}
	}
}

// By the real clock: a restart on the same machine knows the time between by
// its uptime.
func TestSnapshotOfTheRealClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	e := NewEmbedded(StoreConfig{Memory: 16 << 20}, nil)
	b := budgetOf("sender", "all", win(Recipients, 5, time.Hour))
	testBed{Store: e}.fill(t, 3, b)
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	if boot, _ := uptime(); boot != "" {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), boot) {
			t.Errorf("the snapshot does not name this start of the machine: %v", err)
		}
	}
	e = NewEmbedded(StoreConfig{Memory: 16 << 20}, nil)
	if err := e.Load(path); err != nil {
		t.Fatal(err)
	}
	if r := (testBed{Store: e}).look(t, b)[0]; r.Used != 3 {
		t.Errorf("%d used, want 3", r.Used)
	}
}

func TestSnapshotThatIsBrokenIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	if err := e.Load(path); err != nil {
		t.Fatalf("no snapshot: %v", err)
	}
	bed.fill(t, 5, budgetOf("sender", "all", win(Recipients, 5, time.Hour)))
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":     {},
		"cut off":   good[:len(good)-5],
		"flipped":   append(append(append([]byte{}, good[:40]...), good[40]^1), good[41:]...),
		"text":      []byte("this is no snapshot of anything at all\n"),
		"magic":     []byte(snapshotMagic),
		"with more": append(append([]byte{}, good...), 0),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		bed, e := newBed(t, clock)
		err := e.Load(path)
		aside, _ := filepath.Glob(path + ".damaged-*")
		if err == nil || len(aside) != 1 || !strings.Contains(err.Error(), aside[0]) {
			t.Fatalf("%s: %v, set aside %q", name, err, aside)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(data) {
			t.Errorf("%s: not set aside: %v", name, err)
		}
		os.Remove(aside[0])
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: still in its place", name)
		}
		if n := bed.fill(t, 10, budgetOf("sender", "all", win(Recipients, 5, time.Hour))); n != 5 {
			t.Errorf("%s: the store gave %d of 5", name, n)
		}
	}
}

func TestSnapshotThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "limits")
	_, e := newBed(t, newFakeClock())
	if err := e.Save(path); err == nil || !strings.HasPrefix(err.Error(), "save limits: ") {
		t.Errorf("got %v", err)
	}
	told := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx, path, func(err error) { told <- err })
	if err := <-told; err == nil {
		t.Error("no error was reported")
	}
}

func TestRunSavesAtOnceAfterARaiseAndAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := newFakeClock()
	bed, e := newBed(t, clock)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx, path, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}()
	raise := Raise{Limit: "sender", Key: "all", Unit: Recipients, Add: 1, Until: clock.now().Add(time.Hour)}
	if err := e.SetRaise(t.Context(), raise); err != nil {
		t.Fatal(err)
	}
	for { // Run has no other reason to write than the raise
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	b := budgetOf("sender", "all", win(Recipients, 5, time.Hour))
	bed.fill(t, 6, b)
	cancel()
	<-done
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	if r := again.look(t, b)[0]; r.Used != 6 || r.Max != 6 {
		t.Errorf("after the stop: %+v, want 6 of 6", r)
	}
}

// A checksum proves that a file is whole, not that it is ours.
func FuzzSnapshot(f *testing.F) {
	clock := newFakeClock()
	bed, e := newBed(f, clock)
	b := batchOf([]Request{{Recipients: 1, Distinct: 77}}, budgetOf("sender", "all", win(Recipients, 5, time.Hour), win(DistinctRecipients, 5, time.Hour)))
	if err := bed.Take(f.Context(), b); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "limits")
	if err := e.Save(path); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:len(good)-8])
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		bed, e := newBed(t, clock)
		_ = e.restore(strings.NewReader(string(data)))
		bed.one(t, budgetOf("sender", "all", win(Recipients, 5, time.Hour), win(DistinctRecipients, 5, time.Hour)))
	})
}
