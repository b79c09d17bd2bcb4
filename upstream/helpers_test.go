package upstream

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/smtptest"
	"postern/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long is a time that no test reaches.
const long = time.Minute

// short is a timeout that is expected to pass.
const short = 250 * time.Millisecond

func testConfig(hosts ...string) Config {
	var c Config
	c.SetDefaults()
	c.Hosts, c.TLS, c.Chunking = hosts, EncryptOff, true
	c.ConnectTimeout, c.CommandTimeout, c.DataTimeout, c.FinalTimeout, c.WaitTimeout = long, long, long, long, long
	c.GreetingTimeout, c.TLSTimeout, c.AuthTimeout = long, long, long
	return c
}

func newUpstream(t testing.TB, cfg Config) *Upstream {
	t.Helper()
	u, err := New("test", cfg, Options{Hostname: "relay.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		u.Close(ctx)
	})
	return u
}

// start is an upstream in front of a server; set may change its settings.
func start(t testing.TB, opt smtptest.Options, set func(*Config)) (*Upstream, *smtptest.Server) {
	t.Helper()
	s := smtptest.Start(t, opt)
	cfg := testConfig(s.Addr())
	if set != nil {
		set(&cfg)
	}
	return newUpstream(t, cfg), s
}

func addr(s string) mail.Address {
	local, domain, _ := strings.Cut(s, "@")
	return mail.Address{Local: local, Domain: domain}
}

func recipients(addrs ...string) (rs []mail.Recipient) {
	for _, a := range addrs {
		rs = append(rs, mail.Recipient{Address: addr(a)})
	}
	return rs
}

// result is all that a transaction can end with.
type result struct {
	to    []mail.Reply
	final mail.Reply
	err   error
}

func (r result) String() string {
	var s []string
	for i := range r.to {
		s = append(s, r.to[i].String())
	}
	s = append(s, "final "+r.final.String())
	if r.err != nil {
		s = append(s, "error "+r.err.Error())
	}
	return strings.Join(s, ", ")
}

// codes are the codes of all replies, and what kind of error there was.
func (r result) codes() string {
	var s []string
	for i := range r.to {
		s = append(s, r.to[i].String()[:3])
	}
	if r.final.Code != 0 {
		s = append(s, "final", r.final.String()[:3])
	}
	return strings.Join(s, " ")
}

const plainText = "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"

// send is one whole transaction.
func send(ctx context.Context, u *Upstream, rt Route, env mail.Envelope, body Content, to ...mail.Recipient) (r result) {
	t := u.Begin(rt, &env)
	defer t.Close()
	if r.to, r.err = t.Recipients(ctx, to, nil); r.err != nil {
		return r
	}
	for i := range r.to {
		if r.to[i].Positive() {
			r.final, r.err = t.Send(ctx, body)
			return r
		}
	}
	return r
}

// deliver sends plainText from a@a.example.
func deliver(t testing.TB, u *Upstream, to ...string) result {
	t.Helper()
	return send(t.Context(), u, Route{}, mail.Envelope{From: addr("a@a.example")}, Content{Chunks: [][]byte{[]byte(plainText)}}, recipients(to...)...)
}
