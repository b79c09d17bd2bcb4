package ratelimit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestEmbeddedKeepsChargesForTheirWholeWindow(t *testing.T) {
	for _, length := range []time.Duration{time.Second, time.Hour, MaxWindow} {
		clock := newFakeClock()
		bed := testBed{Store: NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now), clock: clock}
		b := budgetOf("l", "all", win(Recipients, 1, length))
		clock.add(900 * time.Nanosecond)
		bed.one(t, b)
		clock.add(length - time.Nanosecond)
		if bed.one(t, b).OK {
			t.Errorf("%s: a charge was gone before its time", length)
		}
		clock.add(20 * time.Millisecond)
		if !bed.one(t, b).OK {
			t.Errorf("%s: a charge stays for longer than its window", length)
		}
	}
}

// heapAndMaps is the memory of the process: what the runtime holds, and the
// chunks outside of it.
func heapAndMaps(e *Embedded) int64 {
	var m runtime.MemStats
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	total := int64(m.HeapInuse)
	if runtime.GOOS == "linux" {
		for i := range e.shards {
			total += int64(len(e.shards[i].chunks)) * chunkSize
		}
	}
	return total
}

// flood takes one message from each of n new senders, or with oneShard of those
// whose keys lie in the first shard: a 64th of them.
func flood(t testing.TB, e *Embedded, from, n int, windows []Window, oneShard bool) (failed int) {
	b := Batch{
		Budgets:  []Budget{{Limit: "sender", Windows: windows, Results: make([]WindowResult, len(windows))}},
		Requests: []Request{{Recipients: 1, Refs: make([]Ref, 1)}},
	}
	key := []byte("sender=01234567890123456789@random-domain.example.org")
	g := &b.Budgets[0]
	for i := from; i < from+n; i++ {
		g.Key, g.Paid = key, false
		for j, x := 7, uint64(i); j < 27; j, x = j+1, x/26 {
			key[j] = 'a' + byte(x%26)
		}
		if oneShard && !inFirstShard(e, "sender", key) {
			continue
		}
		if err := e.Take(t.Context(), &b); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			failed++
		}
	}
	return failed
}

func inFirstShard(e *Embedded, limit string, key []byte) bool {
	return e.shard(e.hash(e.limitID(limit), key)) == &e.shards[0]
}

var floodWindows = []Window{win(Messages, 60, time.Minute), win(Messages, 500, time.Hour), win(Recipients, 2000, 24*time.Hour)}

func TestEmbeddedHoldsAMillionSenders(t *testing.T) {
	senders := 1_000_000
	if raceEnabled {
		senders = 100_000
	}
	clock := newFakeClock()
	var cfg StoreConfig
	cfg.SetDefaults()
	e := NewEmbedded(cfg, clock.now)
	bed := testBed{Store: e, clock: clock}
	busy := budgetOf("sender", "sender=busy@example.org", floodWindows...)
	before := heapAndMaps(e)
	if n := bed.fill(t, 100, busy); n != 60 {
		t.Fatal(n)
	}
	if n := flood(t, e, 0, senders, floodWindows, false); n > 0 {
		t.Fatalf("%d of %d senders were refused for want of memory", n, senders)
	}
	used := heapAndMaps(e) - before
	if t.Logf("%d senders take %d MiB, %d octets each", senders, used>>20, used/int64(senders)); used > 300<<20 {
		t.Error("that is over 300 MiB")
	}
	if bed.one(t, busy).OK {
		t.Error("the busy key was forgotten")
	}
	// All of them are remembered.
	for i := 0; i < senders; i += 9_991 {
		key := []byte("sender=01234567890123456789@random-domain.example.org")
		for j, x := 7, uint64(i); j < 27; j, x = j+1, x/26 {
			key[j] = 'a' + byte(x%26)
		}
		if r := bed.look(t, budgetOf("sender", string(key), floodWindows...)); r[2].Used != 1 {
			t.Errorf("sender %d was forgotten", i)
		}
	}
}

func TestEmbeddedForgetsTheLeastUsedFirst(t *testing.T) {
	clock := newFakeClock()
	e := NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now)
	bed := testBed{Store: e, clock: clock}
	w := []Window{win(Messages, 10, time.Hour)}
	var busy []string
	for i := range 3000 {
		if key := fmt.Sprintf("sender=busy%d", i); inFirstShard(e, "sender", []byte(key)) {
			busy = append(busy, key)
		}
	}
	for _, key := range busy {
		if n := bed.fill(t, 6, budgetOf("sender", key, w...)); n != 6 {
			t.Fatal(n)
		}
	}
	// Far more than fit, all at a tenth of their limit.
	if n := flood(t, e, 0, 100_000, w, true); n > 0 {
		t.Errorf("%d newcomers were refused, though others could go", n)
	}
	total := 0
	for i := range e.shards {
		total += e.shards[i].count
		if sh := &e.shards[i]; len(sh.chunks) > sh.maxChunks {
			t.Errorf("shard %d has %d chunks of %d", i, len(sh.chunks), sh.maxChunks)
		}
	}
	t.Logf("%d keys live", total)
	for _, key := range busy {
		if r := bed.look(t, budgetOf("sender", key, w...)); r[0].Used != 6 {
			t.Fatalf("%s has %d used, want 6", key, r[0].Used)
		}
	}
}

func TestEmbeddedFullOfBusyKeysSaysSo(t *testing.T) {
	clock := newFakeClock()
	e := NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now)
	bed := testBed{Store: e, clock: clock}
	w := []Window{win(Messages, 1, time.Hour)}
	refused := flood(t, e, 0, 60_000, w, true)
	if refused == 0 {
		t.Fatal("nothing was refused, so a key at its limit was forgotten")
	}
	// Once their window is over they make room.
	clock.add(time.Hour + time.Second)
	if n := flood(t, e, 1_000_000, 30_000, w, true); n > 0 {
		t.Errorf("%d refused though all others are over", n)
	}
	// Spare ones never stand in the way.
	spare := budgetOf("spare", "", w...)
	spare.Spare = true
	for i := range 40_000 {
		spare.Key = binary.BigEndian.AppendUint32([]byte("client=a user=b"), uint32(i))
		if inFirstShard(e, "spare", spare.Key) && !bed.one(t, spare).OK {
			t.Fatal("spare key refused")
		}
	}
	if n := flood(t, e, 2_000_000, 10_000, w, true); n > 0 {
		t.Errorf("%d refused for the sake of spare keys", n)
	}
}

// A few very busy keys may not take the memory of the rest.
func TestEmbeddedBoundsLargeBodies(t *testing.T) {
	clock := newFakeClock()
	e := NewEmbedded(StoreConfig{Memory: 2 << 20}, clock.now)
	w := []Window{win(Messages, 1000, time.Hour), win(Recipients, 1000, 24*time.Hour), win(Bytes, 1e6, time.Minute)}
	b := batchOf([]Request{{Recipients: 1, Bytes: 1}}, budgetOf("sender", "", w...))
	for i := range 300 {
		b.Budgets[0].Key = fmt.Appendf(nil, "sender=%d", i)
		for range 70 {
			b.Budgets[0].Paid = false
			if err := e.Take(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			clock.add(time.Millisecond)
		}
	}
	for i := range e.shards {
		if sh := &e.shards[i]; sh.extBytes > 2*sh.maxExt {
			t.Errorf("shard %d holds %d octets of bodies, %d are its bound", i, sh.extBytes, sh.maxExt)
		}
	}
}

// TestEmbeddedLogIsBounded: no traffic makes a window take more than its stated
// room.
func TestEmbeddedLogIsBounded(t *testing.T) {
	clock := newFakeClock()
	e := NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now)
	bed := testBed{Store: e, clock: clock}
	b := budgetOf("l", "all", win(Recipients, 100_000, time.Hour))
	most := 0
	for range 10_000 {
		bed.one(t, b)
		clock.add(500 * time.Millisecond)
		sh := e.shard(e.hash(e.limitID("l"), []byte("all")))
		i, _ := sh.lookup(uint32(e.hash(e.limitID("l"), []byte("all"))), e.limitID("l"), []byte("all"))
		most = max(most, sh.record(i).size())
	}
	if most > 1350 {
		t.Errorf("a window took %d octets", most)
	}
	t.Logf("a busy window takes %d octets", most)
}
