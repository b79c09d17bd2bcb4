package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"time"

	"postern/dkimsign"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/relay"
	"postern/relay/smtpd"
	"postern/upstream"
)

// printer prints how each transaction ended.
type printer struct{}

func (printer) Observe(e *mail.Event) { fmt.Println(e.Outcome, e.Client, e.From, e.Code) }

// A relay with one client and one stream, whose upstream is a folder: the client hears
// 250 once the upstream has the message.
func Example() {
	folder, err := os.MkdirTemp("", "relay")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	var to upstream.Config
	to.SetDefaults()
	to.Capture = filepath.Join(folder, "outbox")
	outbox, err := upstream.New("outbox", to, upstream.Options{Hostname: "relay.example.org"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var client policy.ClientConfig
	client.SetDefaults()
	client.Networks, client.Senders, client.Stream = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []string{"@example.org"}, "main"
	rules := policy.Compile(policy.Config{
		Clients: map[string]policy.ClientConfig{"office": client}, Streams: map[string]policy.StreamConfig{"main": {}},
	}, func(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }, func(path, problem string) { fmt.Println(path, problem) }, func(string, string) {})
	signers, err := dkimsign.Load(nil) // no domain is signed
	if err != nil {
		fmt.Println(err)
		return
	}
	snapshot := &relay.Snapshot{
		Settings: smtpd.Settings{Hostname: "relay.example.org", Rules: rules},
		Signers:  signers,
		Routes:   map[string]*relay.Route{"main": {Name: "outbox", Upstream: outbox, Sign: dkimsign.NewWay(dkimsign.WayConfig{})}},
	}
	snapshot.Message.SetDefaults()
	snapshot.Timeouts.SetDefaults()
	snapshot.Session.SetDefaults()
	limits, err := ratelimit.Compile(map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: ratelimit.Numbers{{N: 500, Window: time.Hour}}},
	}, ratelimit.Env{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := relay.New(relay.Options{
		Snapshot: snapshot, Limiter: ratelimit.NewLimiter(embedded.New(embedded.Config{Memory: 16 << 20}, nil), limits, nil),
		Observers: []mail.Observer{printer{}}, SpoolDir: folder, Log: slog.New(slog.DiscardHandler),
	})
	var cfg smtpd.ListenerConfig
	cfg.SetDefaults()
	cfg.Address = netip.MustParseAddrPort("127.0.0.1:0")
	listener, err := smtpd.Listen("office", cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(ctx, listener) }()
	text := []byte("From: news@example.org\r\nSubject: May\r\n\r\nHello\r\n")
	address := listener.Addr().String()
	fmt.Println(smtp.SendMail(address, nil, "news@example.org", []string{"anna@dest.example"}, text))
	fmt.Println(smtp.SendMail(address, nil, "news@other.example", []string{"anna@dest.example"}, text))
	stop()
	<-done
	server.Shutdown(context.Background())
	listener.Close()
	outbox.Close(context.Background())
	// Output:
	// relayed office news@example.org 250
	// <nil>
	// rejected office news@other.example 553
	// 553 "5.7.1 <news@other.example>: sender not owned by this client"
}
