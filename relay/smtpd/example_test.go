package smtpd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/smtp"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/relay/smtpd"
)

// printer is a transaction that takes everything and prints it.
type printer struct{ text bytes.Buffer }

func (p *printer) Rcpt(args []string) (replies []*mail.Reply) {
	for _, arg := range args {
		fmt.Println("RCPT", arg)
		replies = append(replies, &mail.Reply{Code: 250, Status: "2.1.5", Text: "recipient OK"})
	}
	return replies
}

func (p *printer) Data(m *smtpd.Message) *mail.Reply {
	m.Take = func(run []byte) { p.text.Write(run) }
	return nil
}

func (p *printer) Deliver(m *smtpd.Message) *mail.Reply {
	if m.Refusal != nil {
		return m.Refusal
	}
	fmt.Printf("%q\n", p.text.String())
	return &mail.Reply{Code: 250, Status: "2.0.0", Text: "taken"}
}

func (p *printer) Each() []*mail.Reply                       { return nil }
func (p *printer) Break(_ string, r *mail.Reply) *mail.Reply { return r }
func (p *printer) Idle(time.Time) time.Time                  { return time.Time{} }

// A server decides nothing about mail: it reads commands and messages, and a Transaction
// gives the replies.
func Example() {
	var client policy.ClientConfig
	client.SetDefaults()
	client.Networks, client.Senders, client.Stream = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []string{"@example.org"}, "main"
	rules := policy.Compile(policy.Config{
		Clients: map[string]policy.ClientConfig{"office": client}, Streams: map[string]policy.StreamConfig{"main": {}},
	}, func(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }, func(path, problem string) { fmt.Println(path, problem) }, func(string, string) {})
	settings := &smtpd.Settings{Hostname: "relay.example.org", Rules: rules}
	settings.Message.SetDefaults()
	settings.Timeouts.SetDefaults()
	settings.Session.SetDefaults()
	server := smtpd.New(smtpd.Options{
		Settings: func() *smtpd.Settings { return settings },
		Begin: func(_ *smtpd.Conn, path string) smtpd.Begun {
			fmt.Println("MAIL", path)
			return smtpd.Begun{Transaction: new(printer)}
		},
		Observe: func(*mail.Event) {}, Fault: func(string, error, ...any) {}, Log: slog.New(slog.DiscardHandler),
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
	err = smtp.SendMail(listener.Addr().String(), nil, "news@example.org", []string{"anna@dest.example"}, []byte("Subject: May\r\n\r\n.Hello\r\n"))
	fmt.Println(err)
	stop()
	<-done
	server.Shutdown(context.Background())
	listener.Close()
	// Output:
	// MAIL <news@example.org> BODY=8BITMIME SMTPUTF8
	// RCPT TO:<anna@dest.example>
	// "Subject: May\r\n\r\n.Hello\r\n"
	// <nil>
}
