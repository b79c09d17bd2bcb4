package relay

import (
	"bytes"
	"fmt"
	"io"
	"net"
	stdsmtp "net/smtp"
	"postern/relay/smtpd"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Clients of other hands: what they send arrives.

func TestStandardLibraryClient(t *testing.T) {
	r := newRig(t)
	addr := r.start()
	auth := stdsmtp.PlainAuth("", "shop", "secret", "127.0.0.1")
	msg := []byte("From: orders@shop.example\r\nTo: b@dest.example\r\n\r\n.dot\r\n")
	if err := stdsmtp.SendMail(addr, auth, "orders@shop.example", []string{"b@dest.example", "c@dest.example"}, msg); err != nil {
		t.Fatal(err)
	}
	m := r.up.Messages()[0]
	if len(m.To) != 2 || !bytes.HasSuffix(m.Data, msg) {
		t.Errorf("got %q to %v", m.Data, m.To)
	}
	if err := stdsmtp.SendMail(addr, nil, "x@evil.example", []string{"b@dest.example"}, msg); err == nil || !strings.HasPrefix(err.Error(), "553") {
		t.Errorf("foreign sender: %v", err)
	}
}

func TestGoSMTPClient(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSOptional
	r.start()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClientStartTLS(conn, r.clientTLS(false))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "shop", "wrong")); err == nil {
		t.Error("wrong password: no error")
	}
	if err := c.Auth(sasl.NewPlainClient("", "shop", "secret")); err != nil {
		t.Fatal(err)
	}
	text := "From: orders@shop.example\r\n\r\n" + strings.Repeat(".line\r\n", 20_000)
	for i := range 3 {
		if err := c.Mail("orders@shop.example", &smtp.MailOptions{Size: int64(len(text)), Body: smtp.Body8BitMIME}); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt(fmt.Sprintf("b%d@dest.example", i), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("nobody", nil); err == nil {
			t.Error("recipient without domain: no error")
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	all := r.up.Messages()
	if len(all) != 3 {
		t.Fatalf("%d messages arrived", len(all))
	}
	for _, m := range all {
		if !bytes.HasSuffix(m.Data, []byte(text)) {
			t.Error("arrived changed")
		}
	}
}

// Many at a time, some of whom misbehave: each gets its own verdict, and no
// message arrives that no client was told of.
func TestManyClientsAtOnce(t *testing.T) {
	r := newRig(t)
	r.listener.MaxConnectionsPerIP = 200
	r.set("", "limit.sender.per sender")
	r.set("", "limit.sender.messages 100/1h")
	addr := r.start()
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken, deferred := 0, 0
	for i := range 30 {
		wg.Go(func() {
			for n := range 5 {
				if i%3 == 0 { // leaves in the middle of its data
					p := r.dial()
					p.say("EHLO x", "250")
					p.say("MAIL FROM:<z@example.org>", "250")
					p.send("RCPT TO:<b@dest.example>\r\nDATA\r\nFrom: z@example.org\r\n\r\n")
					p.conn.Close()
					continue
				}
				err := stdsmtp.SendMail(addr, nil, "a@example.org", []string{fmt.Sprintf("b%d.%d@dest.example", i, n)}, []byte("From: a@example.org\r\n\r\nx\r\n"))
				mu.Lock()
				switch {
				case err == nil:
					taken++
				case strings.HasPrefix(err.Error(), "450"):
					deferred++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if taken != 100 || deferred != 0 {
		t.Errorf("%d taken, %d deferred", taken, deferred)
	}
	if n := r.up.Taken(); n != taken {
		t.Errorf("clients were told of %d, %d arrived", taken, n)
	}
	p := r.dial()
	p.say("EHLO x", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<b@dest.example>", "450 4.7.1 <a@example.org>: sender limit of 100 messages in 1h reached, retry in ")
}
