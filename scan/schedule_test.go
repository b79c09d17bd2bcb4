package scan

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answers that mean clean, by kind, as they go over the wire.
var answers = map[string]string{
	"clamd":  "stream: OK\x00",
	"rspamd": okJSON(`{"action":"no action","is_skipped":false,"symbols":{}}`),
	"icap":   "ICAP/1.0 204 No Content\r\nISTag: \"T1\"\r\n\r\n",
}

// TestRandomFaultsNeverPass: whatever part of an answer comes, or whatever stands
// in its place, a message goes on only where the whole of a clean answer came.
func TestRandomFaultsNeverPass(t *testing.T) {
	const schedules = 10_000
	rnd := rand.New(rand.NewPCG(1, 2))
	var plan atomic.Pointer[func(c net.Conn)]
	s := serve(t, func(c net.Conn) { (*plan.Load())(c) })
	passed := 0
	for i := range schedules {
		kind := []string{"clamd", "rspamd", "icap"}[i%3]
		set, err := New(Options{Configs: map[string]Config{kind: config(func(k *Config) {
			kinds(s.address())[kind](k)
			k.Canary, k.Timeout = 0, 500*time.Millisecond
		})}})
		if err != nil {
			t.Fatal(err)
		}
		answer, whole := damaged(rnd, answers[kind])
		early, reset := rnd.IntN(4) == 0, rnd.IntN(4) == 0
		f := func(c net.Conn) {
			if !early {
				readRequest(c, kind)
			}
			io.WriteString(c, answer)
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
		}
		plan.Store(&f)
		if x, ok := set.scanners[0].asker.(*icap); ok {
			x.offered.Store(&icapOptions{preview: -1})
		}
		r, err := set.Judge(context.Background(), message("hello\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Finish()
		if r.Decided == nil {
			passed++
		}
		if r.Decided == nil && !whole {
			t.Fatalf("schedule %d: %s passed after %q", i, kind, answer)
		}
		set.Stop(nil)
	}
	if passed < schedules/20 {
		t.Errorf("%d of %d passed: the schedules do not try clean answers", passed, schedules)
	}
}

// damaged is an answer as it may come; whole says that it is still a clean one.
func damaged(rnd *rand.Rand, answer string) (s string, whole bool) {
	switch rnd.IntN(4) {
	case 0:
		return answer, true
	case 1:
		return answer[:rnd.IntN(len(answer))], false
	case 2:
		i := rnd.IntN(min(12, len(answer)))
		s = answer[:i] + string(rune('!'+rnd.IntN(15))) + answer[i+1:]
		return s, s == answer
	}
	return strings.Repeat("x", rnd.IntN(100)), false
}

// readRequest takes a whole request.
func readRequest(c net.Conn, kind string) {
	r := bufio.NewReader(c)
	switch kind {
	case "clamd":
		r.ReadString(0)
		readInstream(r)
	case "icap":
		readBlock(r)
		readBlock(r)
		readBlock(r)
		readChunks(r)
	default:
		readBlock(r)
		io.CopyN(io.Discard, r, message("hello\r\n").Content.Size())
	}
}
