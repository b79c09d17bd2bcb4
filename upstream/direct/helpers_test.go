package direct

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/freeport"
	"postern/internal/smtptest"
	"postern/mail"
	"postern/upstream"
)

// world is some receivers on addresses of 127.0.0.0/8, all on one port, with DNS.
type world struct {
	t    *testing.T
	zone *dnstest.Zone
	port int
	up   *Upstream
}

// newWorld has no receiver yet; set may change the settings.
func newWorld(t *testing.T, set func(*upstream.Config, *Options), records ...string) *world {
	t.Helper()
	w := &world{t: t, zone: dnstest.StartZone(t, records...), port: freePort(t)}
	var cfg upstream.Config
	cfg.Config.SetDefaults()
	cfg.SetDefaults()
	cfg.MX, cfg.MTASTS, cfg.Port, cfg.Resolvers = true, false, w.port, []string{w.zone.Address}
	cfg.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	cfg.TLS, cfg.MaxConnections, cfg.MessagesPerConnection, cfg.IdleTimeout, cfg.ConnectTimeout = upstream.EncryptOpportunistic, 10, 20, 10*time.Second, 10*time.Second
	o := Options{Hostname: "relay.example", DNSTimeout: time.Second}
	o.Self.Names = []string{"relay.example"}
	if set != nil {
		set(&cfg, &o)
	}
	up, err := New("world", cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	w.up = up
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		up.Close(ctx)
	})
	return w
}

// freePort is free on all of 127.0.0.0/8.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// receiver starts one at an address.
func (w *world) receiver(ip string, o smtptest.Options) *smtptest.Server {
	w.t.Helper()
	o.Addr = net.JoinHostPort(ip, fmt.Sprint(w.port))
	return smtptest.Start(w.t, o)
}

// domain adds one with hosts in order of preference, each "name ip".
func (w *world) domain(name string, hosts ...string) {
	for i, h := range hosts {
		host, ip, _ := strings.Cut(h, " ")
		w.zone.Add(fmt.Sprintf("%s. 60 MX %d %s.", name, 10*(i+1), host))
		if ip == "" {
			continue
		}
		qtype := "A"
		if strings.Contains(ip, ":") {
			qtype = "AAAA"
		}
		w.zone.Add(fmt.Sprintf("%s. 60 %s %s", host, qtype, ip))
	}
}

func rcpt(text string) mail.Recipient {
	local, domain, _ := strings.Cut(text, "@")
	return mail.Recipient{Address: mail.Address{Local: local, Domain: domain}}
}

const message = "Subject: x\r\n\r\nhello\r\n"

// sent is how a transaction went.
type sent struct {
	to    []mail.Reply
	final mail.Reply
	err   error
	host  string
	tls   string
	from  netip.Addr
}

func (s sent) String() string {
	var words []string
	for i := range s.to {
		words = append(words, s.to[i].String())
	}
	if s.final.Code != 0 {
		words = append(words, "final "+s.final.String())
	}
	if s.err != nil {
		words = append(words, "error "+s.err.Error())
	}
	return strings.Join(words, ", ")
}

// codes are the codes of all replies.
func (s sent) codes() string {
	var words []string
	for i := range s.to {
		words = append(words, fmt.Sprint(s.to[i].Code))
	}
	if s.final.Code != 0 {
		words = append(words, "final", fmt.Sprint(s.final.Code))
	}
	return strings.Join(words, " ")
}

// send is one whole transaction from a@a.example.
func (w *world) send(to ...string) (s sent) {
	return w.sendBy(upstream.Route{}, to...)
}

func (w *world) sendBy(via upstream.Route, to ...string) (s sent) {
	return w.sendEnvelope(&mail.Envelope{From: rcpt("a@a.example").Address}, via, to...)
}

func (w *world) sendEnvelope(env *mail.Envelope, via upstream.Route, to ...string) (s sent) {
	t := w.up.Begin(via, env)
	defer t.Close()
	var rs []mail.Recipient
	for _, a := range to {
		rs = append(rs, rcpt(a))
	}
	s.to, s.err = t.Recipients(w.t.Context(), rs, nil)
	s.host, s.tls, s.from = t.Host(), t.TLS(), t.SourceIP()
	for i := range s.to {
		if s.to[i].Positive() {
			s.final, s.err = t.Send(w.t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}})
			break
		}
	}
	return s
}
