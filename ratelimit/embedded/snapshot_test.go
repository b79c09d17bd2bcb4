package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

func newBed(t testing.TB, clock *storetest.Clock) (storetest.Bed, *Store) {
	t.Helper()
	e := New(Config{Memory: 16 << 20}, clock.Now)
	return storetest.Bed{Store: e, Drops: drops, Clock: clock, Tick: 1}, e
}

func TestSnapshotKeepsCountsAndRaises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	clock := storetest.NewClock()
	bed, e := newBed(t, clock)
	hourly := storetest.Reserved(20, time.Hour, ratelimit.Reserve{Share: "transactional", Min: 5})
	b := func(i int) ratelimit.Budget {
		b := storetest.BudgetOf("sender", fmt.Sprintf("sender=s%d@example.org", i), storetest.Win(ratelimit.Messages, 9, time.Minute), hourly, storetest.Win(ratelimit.DistinctRecipients, 99, 24*time.Hour))
		if i%2 == 0 {
			b.Share = "transactional"
		}
		return b
	}
	for i := range 300 {
		for range i % 12 {
			bed.Ask(t, ratelimit.Request{Recipients: 1, Distinct: storetest.HashRecipient("a")}, b(i))
			clock.Add(time.Second)
		}
	}
	allowance := ratelimit.Allowance{Limit: "sender", Key: "sender=s1@example.org", Unit: ratelimit.Messages, Add: 3, Until: clock.Now().Add(2 * time.Hour), Reason: "campaign"}
	if err := e.SetAllowance(t.Context(), allowance); err != nil {
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
		want, got := bed.Peek(t, b(i)), again.Peek(t, b(i))
		for j := range want {
			if got[j] != want[j] {
				t.Fatalf("key %d window %d: got %+v, want %+v", i, j, got[j], want[j])
			}
		}
	}
	if list, _ := e2.Allowances(t.Context()); len(list) != 1 || list[0].Reason != "campaign" {
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
		clock := storetest.NewClock()
		bed, e := newBed(t, clock)
		b := storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour))
		bed.Fill(t, 5, b)
		if err := e.Save(path); err != nil {
			t.Fatal(err)
		}
		clock.Add(test.pause)
		bed, e = newBed(t, clock)
		if err := e.Load(path); err != nil {
			t.Fatal(err)
		}
		r := bed.Peek(t, b)[0]
		if r.Used != test.want || r.Free > time.Hour {
			t.Errorf("after %s: %+v, want %d used", test.pause, r, test.want)
		}
	}
}

// By the real clock: a restart on the same machine knows the time between by
// its uptime.
func TestSnapshotOfTheRealClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits")
	e := New(Config{Memory: 16 << 20}, nil)
	b := storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour))
	storetest.Bed{Store: e}.Fill(t, 3, b)
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	if boot, _ := uptime(); boot != "" {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), boot) {
			t.Errorf("the snapshot does not name this start of the machine: %v", err)
		}
	}
	e = New(Config{Memory: 16 << 20}, nil)
	if err := e.Load(path); err != nil {
		t.Fatal(err)
	}
	if r := (storetest.Bed{Store: e}).Peek(t, b)[0]; r.Used != 3 {
		t.Errorf("%d used, want 3", r.Used)
	}
}

func TestSnapshotThatIsBrokenIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "limits")
	clock := storetest.NewClock()
	bed, e := newBed(t, clock)
	if err := e.Load(path); err != nil {
		t.Fatalf("no snapshot: %v", err)
	}
	bed.Fill(t, 5, storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour)))
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
		if n := bed.Fill(t, 10, storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour))); n != 5 {
			t.Errorf("%s: the store gave %d of 5", name, n)
		}
	}
}

func TestSnapshotThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "limits")
	_, e := newBed(t, storetest.NewClock())
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
	clock := storetest.NewClock()
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
	allowance := ratelimit.Allowance{Limit: "sender", Key: "all", Unit: ratelimit.Recipients, Add: 1, Until: clock.Now().Add(time.Hour)}
	if err := e.SetAllowance(t.Context(), allowance); err != nil {
		t.Fatal(err)
	}
	for { // Run has no other reason to write than the allowance
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	b := storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour))
	bed.Fill(t, 6, b)
	cancel()
	<-done
	again, e2 := newBed(t, clock)
	if err := e2.Load(path); err != nil {
		t.Fatal(err)
	}
	if r := again.Peek(t, b)[0]; r.Used != 6 || r.Max != 6 {
		t.Errorf("after the stop: %+v, want 6 of 6", r)
	}
}

// A checksum proves that a file is whole, not that it is ours.
func FuzzSnapshot(f *testing.F) {
	clock := storetest.NewClock()
	bed, e := newBed(f, clock)
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1, Distinct: 77}}, storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 5, time.Hour)))
	if _, err := bed.Take(f.Context(), b); err != nil {
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
		bed.One(t, storetest.BudgetOf("sender", "all", storetest.Win(ratelimit.Recipients, 5, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 5, time.Hour)))
	})
}
