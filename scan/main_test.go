package scan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a scripted scanner.
type server struct {
	l     net.Listener
	tasks sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

// serve answers each connection with f.
func serve(t *testing.T, f func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: l}
	s.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.tasks.Go(func() { defer c.Close(); f(c) })
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

func (s *server) address() string { return s.l.Addr().String() }

// clamdServer answers INSTREAM by the message, VERSION by version.
func clamdServer(t *testing.T, version func() string, f func(c net.Conn, message []byte)) *server {
	return serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		command, err := r.ReadString(0)
		if err != nil {
			return
		}
		if command == "zVERSION\x00" {
			io.WriteString(c, version()+"\x00")
			return
		}
		message, err := readInstream(r)
		if err != nil {
			return
		}
		f(c, message)
	})
}

func readInstream(r io.Reader) ([]byte, error) {
	var all []byte
	for {
		var n uint32
		if err := binary.Read(r, binary.BigEndian, &n); err != nil || n == 0 {
			return all, err
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
}

const fresh = "ClamAV 1.4.6/27000/Mon Nov 30 08:00:00 2026"

func always(s string) func() string { return func() string { return s } }

// finds is a clamd that finds what its canary holds, and says answer to all else.
func finds(answer func() string) func(net.Conn, []byte) {
	return func(c net.Conn, m []byte) {
		if bytes.Contains(m, []byte("X-Postern-Canary")) {
			io.WriteString(c, "stream: Eicar-Test-Signature FOUND\x00")
			return
		}
		io.WriteString(c, answer()+"\x00")
	}
}

func message(body string) *Message {
	return &Message{
		ID: "ID1", Client: "shop", Stream: "news", User: "u", IP: netip.MustParseAddr("192.0.2.1"), Helo: "client.example",
		Hostname: "relay.example", From: "a@example.org", To: []string{"b@example.net", "c@example.com"},
		Content: Content{Head: []byte("From: a@example.org\r\nSubject: x\r\n y\r\n\r\n"), Chunks: [][]byte{[]byte(body)}},
	}
}

// config with defaults.
func config(change func(*Config)) Config {
	var c Config
	c.SetDefaults()
	c.Timeout = 20 * time.Second
	change(&c)
	return c
}

// newSet starts scanners and ends them with the test.
func newSet(t *testing.T, configs map[string]Config) *Set {
	t.Helper()
	set, err := New(Options{Hostname: "relay.example", Configs: configs})
	if err != nil {
		t.Fatal(err)
	}
	set.Start(5 * time.Second)
	t.Cleanup(func() { set.Stop(nil) })
	return set
}

func judge(t *testing.T, set *Set, m *Message) *Result {
	t.Helper()
	r, err := set.Judge(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	r.Finish()
	return r
}

// only is the one verdict of a set of one scanner.
func only(t *testing.T, set *Set, m *Message) Response {
	t.Helper()
	r := judge(t, set, m)
	if len(r.Verdicts) != 1 {
		t.Fatalf("%d verdicts, want 1", len(r.Verdicts))
	}
	return r.Verdicts[0]
}

// asked is what one asker makes of a scripted answer.
func askRaw(t *testing.T, c Config, m *Message) (Response, error) {
	t.Helper()
	s, err := newScanner("x", "relay.example", c, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	v, err := s.asker.ask(ctx, m)
	if err == nil {
		s.cfg.choose(&v)
	}
	return v, err
}

func okJSON(s string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s), s)
}

// patience is longer than anything here takes on the slowest machine. What would hold
// a test up without the thing that it shows goes on for longer still.
const patience = 60 * time.Second

// within fails unless f ends long before what it waits for does.
func within(t *testing.T, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > patience {
		t.Errorf("took %s", took)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
