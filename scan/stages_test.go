package scan

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-milter"
)

// between stands between us and a server, and lets so many octets through.
type between struct {
	to, from atomic.Int64 // what has gone to the server and come from it, over all connections
	limitTo  int64        // beyond it nothing goes on; -1: all does
	limitAns int64        // likewise from the server
	stall    bool         // nothing more comes, in place of a reset
}

// pass connects c with a server until a limit is reached or either ends.
func (b *between) pass(c net.Conn, address string) {
	s, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer s.Close()
	var tasks sync.WaitGroup
	ended := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(ended) }) }
	tasks.Go(func() { b.copy(s, c, &b.to, b.limitTo, end) })
	tasks.Go(func() { b.copy(c, s, &b.from, b.limitAns, end) })
	<-ended
	if b.stall && b.reached() {
		io.Copy(io.Discard, c) // until the asker goes
	}
	if b.reached() {
		c.(*net.TCPConn).SetLinger(0)
		s.(*net.TCPConn).SetLinger(0)
	}
	c.Close()
	s.Close()
	tasks.Wait()
}

func (b *between) reached() bool {
	return b.limitTo >= 0 && b.to.Load() >= b.limitTo || b.limitAns >= 0 && b.from.Load() >= b.limitAns
}

func (b *between) copy(dst io.Writer, src io.Reader, n *atomic.Int64, limit int64, end func()) {
	buf := make([]byte, 16<<10)
	for {
		most := int64(len(buf))
		if limit >= 0 {
			most = min(most, limit-n.Load())
		}
		if most <= 0 {
			end()
			return
		}
		got, err := src.Read(buf[:most])
		n.Add(int64(got)) // before its reader can come with another connection
		if got > 0 {
			if _, err := dst.Write(buf[:got]); err != nil {
				end()
				return
			}
		}
		if err != nil {
			end()
			return
		}
	}
}

// goodServers answer every message as clean, each by its whole protocol.
func goodServers(t *testing.T) map[string]string {
	icap := func(options string) string {
		return icapServer(t, options, func([]byte) string { return "ICAP/1.0 204 No Content\r\nISTag: \"T1\"\r\n\r\n" }).address()
	}
	rspamd := serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := readBlock(r); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, stagesMessage().Content.Size()); err == nil {
			io.WriteString(c, answers["rspamd"])
		}
	})
	return map[string]string{
		"clamd":        clamdServer(t, always(fresh), func(c net.Conn, _ []byte) { io.WriteString(c, "stream: OK\x00") }).address(),
		"rspamd":       rspamd.address(),
		"icap":         icap("Allow: 204\r\n"),
		"icap preview": icap("Preview: 1024\r\n"),
		"milter":       milterServer(t, func(*milter.Modifier) (milter.Response, error) { return milter.RespAccept, nil }),
	}
}

func stagesMessage() *Message {
	return message(strings.Repeat("hello, this is a line of it\r\n", 5000))
}

// askThrough asks a server with b in between.
func askThrough(t *testing.T, kind, server string, b *between, timeout time.Duration, onFailure Choice) Response {
	t.Helper()
	p := serve(t, func(c net.Conn) { b.pass(c, server) })
	defer p.close()
	set, err := New(Options{Configs: map[string]Config{"x": config(func(k *Config) {
		kinds(p.address())[strings.Fields(kind)[0]](k)
		k.Timeout, k.OnFailure, k.Canary = timeout, onFailure, 0
	})}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Stop(nil)
	r, err := set.Judge(context.Background(), stagesMessage())
	if err != nil {
		t.Fatal(err)
	}
	r.Finish()
	return r.Verdicts[0]
}

// lengths are how many octets go each way in a whole dialog that is clean.
func lengths(t *testing.T, kind, server string) (to, from int64) {
	t.Helper()
	b := &between{limitTo: -1, limitAns: -1}
	if v := askThrough(t, kind, server, b, 5*time.Second, Defer); v.Class != Clean {
		t.Fatalf("%s: %+v", kind, v)
	}
	return b.to.Load(), b.from.Load()
}

// TestResetAtEachStage cuts the dialog with each kind of scanner behind every octet
// of what it answers, and behind many of what it is sent: none is a yes.
func TestResetAtEachStage(t *testing.T) {
	for kind, server := range goodServers(t) {
		to, from := lengths(t, kind, server)
		cuts := []*between{}
		for n := range from {
			cuts = append(cuts, &between{limitTo: -1, limitAns: n})
		}
		for _, n := range []int64{0, 1, 9, 10, 11, 100, 200, 300, 400, 500, 1000, 4096, 10_000, 65_536, 100_000, to - 500, to - 100, to - 20} {
			cuts = append(cuts, &between{limitTo: min(n, to-20), limitAns: -1})
		}
		onFailure := Defer
		for _, b := range cuts {
			if onFailure == Defer {
				onFailure = Pass
			} else {
				onFailure = Defer
			}
			v := askThrough(t, kind, server, b, 5*time.Second, onFailure)
			if v.Class != Fault || v.Choice != onFailure || v.Unscanned != (onFailure == Pass) {
				t.Fatalf("%s, cut behind %d octets to it or %d from it: %+v", kind, b.limitTo, b.limitAns, v)
			}
		}
		t.Logf("%s: %d cuts of %d octets to it and %d from it", kind, len(cuts), to, from)
	}
}

// TestDeadlineIsKeptAtEachStage has a server fall silent at each stage: the time-out
// holds within 100 ms.
func TestDeadlineIsKeptAtEachStage(t *testing.T) {
	const timeout = 100 * time.Millisecond
	var took []time.Duration
	for kind, server := range goodServers(t) {
		to, from := lengths(t, kind, server)
		for _, b := range []*between{
			{limitTo: 0, limitAns: -1}, {limitTo: 15, limitAns: -1}, {limitTo: to / 2, limitAns: -1},
			{limitTo: -1, limitAns: 0}, {limitTo: -1, limitAns: from / 2}, {limitTo: -1, limitAns: from - 1},
		} {
			b.stall = true
			v := askThrough(t, kind, server, b, timeout, Defer)
			if v.Class != Fault || v.Choice != Defer {
				t.Errorf("%s, silent behind %d octets to it or %d from it: %+v", kind, b.limitTo, b.limitAns, v)
			}
			if v.Took > timeout+100*time.Millisecond {
				t.Errorf("%s, silent behind %d octets to it or %d from it: took %s", kind, b.limitTo, b.limitAns, v.Took)
			}
			took = append(took, v.Took)
		}
	}
	slices.Sort(took)
	t.Logf("median %s, longest %s of %d", took[len(took)/2], took[len(took)-1], len(took))
}
