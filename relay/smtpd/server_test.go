package smtpd

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a connection from 127.0.0.1 whose client sends octets, whatever it
// hears, and then goes away.
type script struct {
	in  []byte
	out bytes.Buffer
}

func (c *script) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// newServer is a server whose clients are 127.0.0.1 and 192.0.2.0/28, and its
// listener, where 127.0.0.1 may use XCLIENT.
func newServer(t testing.TB) (*Server, *Listener) {
	var c policy.ClientConfig
	c.SetDefaults()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("192.0.2.0/28")}
	c.Senders, c.Stream = []string{"@example.org"}, "main"
	rules := policy.Compile(policy.Config{
		Clients: map[string]policy.ClientConfig{"mta": c}, Streams: map[string]policy.StreamConfig{"main": {}},
	}, func(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }, func(path, text string) { t.Errorf("%s: %s", path, text) }, func(string, string) {})
	cfg := &Settings{Hostname: "relay.test", Rules: rules}
	cfg.Message.SetDefaults()
	cfg.Timeouts.SetDefaults()
	cfg.Session.SetDefaults()
	srv := New(Options{
		Settings: func() *Settings { return cfg },
		Begin:    func(_ *Conn, path string) Begun { return Begun{Transaction: &sink{}} },
		Observe:  func(*mail.Event) {},
		Fault:    func(cause string, err error, _ ...any) { t.Errorf("%s: %v", cause, err) },
		Log:      slog.New(slog.DiscardHandler),
	})
	var l ListenerConfig
	l.SetDefaults()
	l.Address = netip.MustParseAddrPort("127.0.0.1:0")
	l.XClientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	lis, err := Listen("test", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return srv, lis
}

// sink is a transaction that takes everything.
type sink struct{ text bytes.Buffer }

func (s *sink) Rcpt(args []string) (all []*mail.Reply) {
	for range args {
		all = append(all, &mail.Reply{Code: 250, Status: "2.1.5", Text: "recipient OK"})
	}
	return all
}

func (s *sink) Data(m *Message) *mail.Reply {
	m.Take = func(run []byte) { s.text.Write(run) }
	return nil
}

func (s *sink) Deliver(m *Message) *mail.Reply {
	if m.Refusal != nil {
		return m.Refusal
	}
	return &mail.Reply{Code: 250, Status: "2.0.0", Text: "taken"}
}

func (s *sink) Each() []*mail.Reply { return nil }

func (s *sink) Break(_ string, r *mail.Reply) *mail.Reply { return r }

func (s *sink) Idle(time.Time) time.Time { return time.Time{} }

// TestEngineServesAnyTransaction: what is behind the engine need not be the relay.
func TestEngineServesAnyTransaction(t *testing.T) {
	srv, lis := newServer(t)
	c := &script{in: []byte("EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nRCPT TO:<c@dest.example>\r\nBDAT 3\r\nx\r\nBDAT 3 LAST\r\ny\r\nQUIT\r\n")}
	srv.ServeConn(lis, c)
	for _, want := range []string{"250 2.1.0 sender OK\r\n250 2.1.5 recipient OK\r\n250 2.1.5 recipient OK\r\n250 2.0.0 3 octets received\r\n250 2.0.0 taken\r\n221"} {
		if !bytes.Contains(c.out.Bytes(), []byte(want)) {
			t.Errorf("heard %q, want %q in it", &c.out, want)
		}
	}
}

// TestConnectionsOfStrangersAreGivenBack: whatever a connection turns out to be,
// its end leaves the counts as they were.
func TestConnectionsOfStrangersAreGivenBack(t *testing.T) {
	srv, lis := newServer(t)
	for _, in := range []string{
		"XCLIENT ADDR=198.51.100.7\r\nXCLIENT ADDR=192.0.2.7\r\nXCLIENT ADDR=198.51.100.7\r\nQUIT\r\n",
		"XCLIENT ADDR=198.51.100.7\r\n", "XCLIENT ADDR=2001:db8::1\r\nXCLIENT ADDR=2001:db8::2\r\n", "QUIT\r\n", "",
	} {
		c := &script{in: []byte(in)}
		srv.ServeConn(lis, c)
		if caps := &lis.caps; caps.open != 0 || caps.strangers != 0 || len(caps.by) != 0 {
			t.Errorf("%q, which hears %q, leaves %d open, %d of strangers, by address %v", in, &c.out, caps.open, caps.strangers, caps.by)
		}
	}
}
