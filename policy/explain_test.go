package policy

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestExplainSaysInPlainWords(t *testing.T) {
	streams := map[string]StreamConfig{
		"corporate": {RequireListUnsubscribe: NoUnsubscribe},
		"marketing": {RequireListUnsubscribe: OneClick, RefuseRecipients: []string{"@*.partner.example"}, AllowRecipients: []string{"@*.example"}},
	}
	clients := map[string]ClientConfig{
		"corporate": client(func(c *ClientConfig) {
			c.Networks, c.Senders, c.Stream = networksOf("10.20.0.0/28", "2001:db8::25/128"), []string{"@example.org", "@*.example.org"}, "corporate"
		}),
		"shop": client(func(c *ClientConfig) {
			c.Users, c.Certificates, c.Listeners = []string{"shop", "till"}, []string{"shop.example.org"}, []string{"submission"}
			c.RequireTLS, c.Senders, c.Stream = true, []string{"orders@shop.example.org"}, "marketing"
			c.NullSender, c.FromMismatch, c.DuplicateFields, c.DisplayNameAddress = AllowNull, ShadowMismatch, Allow, Reject
			c.CheckSender, c.CheckReplyTo, c.CheckResentFrom, c.AddressLiterals = true, true, true, true
			c.RefuseRecipients, c.AllowRecipients = []string{"abuse@free.example"}, []string{"@free.example", "@partner.example"}
			c.AutomaticReplies, c.AutomaticNotices = AutomaticReplies{Mode: AllowReplies}, AutomaticReplies{OncePerRecipient, day}
		}),
		"zero": client(func(c *ClientConfig) {
			c.Networks, c.Stream, c.NullSender = networksOf("192.0.2.9/32"), "corporate", RejectNull
			c.AutomaticReplies = AutomaticReplies{Mode: RejectReplies}
		}),
	}
	r := good(t, Config{Clients: clients, Streams: streams, InternalDomains: []string{"example.org", "*.example.org"}})
	var b strings.Builder
	if err := explainAll(r, &b); err != nil {
		t.Fatal(err)
	}
	want := `client corporate
  who:         hosts in 10.20.0.0/28 or 2001:db8::25
  as:          anybody at example.org or anybody at a domain below example.org
  header:      every author in From must be one of these; no field that may stand once occurs twice
  to:          everybody; no address literals
  null sender: allowed, messages at most 20/1h
  replies:     automatic replies that leave example.org and *.example.org go once from an author to a recipient in 7 days; reports and receipts count on null_sender_limit (20/1h)
  through:     stream corporate

client shop
  who:         any host, authenticated as "shop" or "till", with a certificate for shop.example.org, on listener submission, over TLS
  as:          orders@shop.example.org
  header:      an author in From who is none of these is logged and passes; those in Sender, Resent-From, Resent-Sender and Reply-To must be, too; no name shows another address; one-click List-Unsubscribe is needed
  to:          only anybody at free.example or anybody at partner.example, and of these only anybody at a domain below example, except abuse@free.example, anybody at a domain below partner.example
  null sender: allowed without a limit of its own
  replies:     automatic replies, reports and receipts that leave example.org and *.example.org are allowed; automatic notices go once from an author to a recipient in 1d
  through:     stream marketing

client zero
  who:         host 192.0.2.9
  as:          nobody: it can send nothing
  header:      every author in From must be one of these; no field that may stand once occurs twice
  to:          everybody; no address literals
  null sender: refused
  replies:     automatic replies, reports and receipts that leave example.org and *.example.org are refused
  through:     stream corporate
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

type full struct{ room int }

func (w *full) Write(b []byte) (int, error) {
	if w.room--; w.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// explainAll explains all clients, with an empty line between two.
func explainAll(r *Rules, w io.Writer) error {
	for i, c := range r.clients {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := r.ExplainClient(w, c); err != nil {
			return err
		}
	}
	return nil
}

func TestExplainReportsTheWriter(t *testing.T) {
	r := good(t, Config{Clients: map[string]ClientConfig{"a": anna(nil), "b": anna(func(c *ClientConfig) { c.Networks = networksOf("192.0.2.2/32") })}})
	for room := range 17 {
		if err := explainAll(r, &full{room}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("room for %d lines: %v", room, err)
		}
	}
}
