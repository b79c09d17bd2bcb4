package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

func TestEmbeddedKeepsChargesForTheirWholeWindow(t *testing.T) {
	for _, length := range []time.Duration{time.Second, time.Hour, ratelimit.MaxWindow} {
		clock := storetest.NewClock()
		bed := storetest.Bed{Store: New(Config{Memory: 16 << 20}, clock.Now), Clock: clock}
		b := storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Recipients, 1, length))
		clock.Add(900 * time.Nanosecond)
		bed.One(t, b)
		clock.Add(length - time.Nanosecond)
		if bed.One(t, b).OK {
			t.Errorf("%s: a charge was gone before its time", length)
		}
		clock.Add(20 * time.Millisecond)
		if !bed.One(t, b).OK {
			t.Errorf("%s: a charge stays for longer than its window", length)
		}
	}
}

// heapAndMaps is the memory of the process: what the runtime holds, and the
// chunks outside of it.
func heapAndMaps(e *Store) int64 {
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
func flood(t testing.TB, e *Store, from, n int, windows []ratelimit.Window, oneShard bool) (failed int) {
	b := ratelimit.Batch{
		Budgets:  []ratelimit.Budget{{Limit: "sender", Windows: windows}},
		Requests: []ratelimit.Request{{Recipients: 1, Refs: []int{0}}},
	}
	key := []byte("sender=01234567890123456789@random-domain.example.org")
	g := &b.Budgets[0]
	for i := from; i < from+n; i++ {
		g.Key = key
		for j, x := 7, uint64(i); j < 27; j, x = j+1, x/26 {
			key[j] = 'a' + byte(x%26)
		}
		if oneShard && !inFirstShard(e, "sender", key) {
			continue
		}
		if _, err := e.Take(t.Context(), &b); err != nil {
			if !errors.Is(err, ratelimit.ErrFull) {
				t.Fatal(err)
			}
			failed++
		}
	}
	return failed
}

func inFirstShard(e *Store, limit string, key []byte) bool {
	return e.shard(e.hash(e.limitID(limit), key)) == &e.shards[0]
}

var floodWindows = []ratelimit.Window{storetest.Win(ratelimit.Messages, 60, time.Minute), storetest.Win(ratelimit.Messages, 500, time.Hour), storetest.Win(ratelimit.Recipients, 2000, 24*time.Hour)}

func TestEmbeddedHoldsAMillionSenders(t *testing.T) {
	senders := 1_000_000
	if raceEnabled {
		senders = 100_000
	}
	clock := storetest.NewClock()
	var cfg Config
	cfg.SetDefaults()
	e := New(cfg, clock.Now)
	bed := storetest.Bed{Store: e, Clock: clock}
	busy := storetest.BudgetOf("sender", "sender=busy@example.org", floodWindows...)
	before := heapAndMaps(e)
	if n := bed.Fill(t, 100, busy); n != 60 {
		t.Fatal(n)
	}
	if n := flood(t, e, 0, senders, floodWindows, false); n > 0 {
		t.Fatalf("%d of %d senders were refused for want of memory", n, senders)
	}
	used := heapAndMaps(e) - before
	if t.Logf("%d senders take %d MiB, %d octets each", senders, used>>20, used/int64(senders)); used > 300<<20 {
		t.Error("that is over 300 MiB")
	}
	if bed.One(t, busy).OK {
		t.Error("the busy key was forgotten")
	}
	// All of them are remembered.
	for i := 0; i < senders; i += 9_991 {
		key := []byte("sender=01234567890123456789@random-domain.example.org")
		for j, x := 7, uint64(i); j < 27; j, x = j+1, x/26 {
			key[j] = 'a' + byte(x%26)
		}
		if r := bed.Peek(t, storetest.BudgetOf("sender", string(key), floodWindows...)); r[2].Used != 1 {
			t.Errorf("sender %d was forgotten", i)
		}
	}
}

func TestEmbeddedForgetsTheLeastUsedFirst(t *testing.T) {
	clock := storetest.NewClock()
	e := New(Config{Memory: 16 << 20}, clock.Now)
	bed := storetest.Bed{Store: e, Clock: clock}
	w := []ratelimit.Window{storetest.Win(ratelimit.Messages, 10, time.Hour)}
	var busy []string
	for i := range 3000 {
		if key := fmt.Sprintf("sender=busy%d", i); inFirstShard(e, "sender", []byte(key)) {
			busy = append(busy, key)
		}
	}
	for _, key := range busy {
		if n := bed.Fill(t, 6, storetest.BudgetOf("sender", key, w...)); n != 6 {
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
		if r := bed.Peek(t, storetest.BudgetOf("sender", key, w...)); r[0].Used != 6 {
			t.Fatalf("%s has %d used, want 6", key, r[0].Used)
		}
	}
}

func TestEmbeddedFullOfBusyKeysSaysSo(t *testing.T) {
	clock := storetest.NewClock()
	e := New(Config{Memory: 16 << 20}, clock.Now)
	bed := storetest.Bed{Store: e, Clock: clock}
	w := []ratelimit.Window{storetest.Win(ratelimit.Messages, 1, time.Hour)}
	refused := flood(t, e, 0, 60_000, w, true)
	if refused == 0 {
		t.Fatal("nothing was refused, so a key at its limit was forgotten")
	}
	// Once their window is over they make room.
	clock.Add(time.Hour + time.Second)
	if n := flood(t, e, 1_000_000, 30_000, w, true); n > 0 {
		t.Errorf("%d refused though all others are over", n)
	}
	// Spare ones never stand in the way.
	spare := storetest.BudgetOf("spare", "", w...)
	spare.Spare = true
	for i := range 40_000 {
		spare.Key = binary.BigEndian.AppendUint32([]byte("client=a user=b"), uint32(i))
		if inFirstShard(e, "spare", spare.Key) && !bed.One(t, spare).OK {
			t.Fatal("spare key refused")
		}
	}
	if n := flood(t, e, 2_000_000, 10_000, w, true); n > 0 {
		t.Errorf("%d refused for the sake of spare keys", n)
	}
}

// A few very busy keys may not take the memory of the rest.
func TestEmbeddedBoundsLargeBodies(t *testing.T) {
	clock := storetest.NewClock()
	e := New(Config{Memory: 2 << 20}, clock.Now)
	w := []ratelimit.Window{storetest.Win(ratelimit.Messages, 1000, time.Hour), storetest.Win(ratelimit.Recipients, 1000, 24*time.Hour), storetest.Win(ratelimit.Bytes, 1e6, time.Minute)}
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1, Bytes: 1}}, storetest.BudgetOf("sender", "", w...))
	for i := range 300 {
		b.Budgets[0].Key = fmt.Appendf(nil, "sender=%d", i)
		for range 70 {
			if _, err := e.Take(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			clock.Add(time.Millisecond)
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
	clock := storetest.NewClock()
	e := New(Config{Memory: 16 << 20}, clock.Now)
	bed := storetest.Bed{Store: e, Clock: clock}
	b := storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Recipients, 100_000, time.Hour))
	most := 0
	for range 10_000 {
		bed.One(t, b)
		clock.Add(500 * time.Millisecond)
		sh := e.shard(e.hash(e.limitID("l"), []byte("all")))
		i, _ := sh.lookup(uint32(e.hash(e.limitID("l"), []byte("all"))), e.limitID("l"), []byte("all"))
		most = max(most, sh.record(i).size())
	}
	if most > 1350 {
		t.Errorf("a window took %d octets", most)
	}
	t.Logf("a busy window takes %d octets", most)
}

func TestEmbeddedStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Bed {
		clock := storetest.NewClock()
		return storetest.Bed{Store: New(Config{Memory: 16 << 20}, clock.Now), Clock: clock, Tick: 1, Drops: drops}
	})
}

// drops reports whether the store would leave a hash out of a sample of an hour.
func drops(hash uint64, _ time.Time) bool { return draw(hash, elapsedBase/int64(time.Hour))>>63 == 1 }
