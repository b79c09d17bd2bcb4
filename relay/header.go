package relay

import (
	"errors"
	"fmt"
	"postern/dkimsign"
	"postern/internal/plain"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
	"postern/upstream"
	"slices"
	"time"
)

// message is what has been found out about the header of a message.
type message struct {
	raw     []byte
	header  syntax.Header
	facts   policy.HeaderFacts
	rule    string             // what refused it
	folds   bool               // lines of the header are folded before it leaves
	domains []*dkimsign.Domain // that sign it
	own     []int              // places in header of signatures by the client, which are taken out
	hash    *dkimsign.BodyHash // nil when none does
}

func (t *transaction) judgeHeader() (rule string, r *mail.Reply) {
	m := &t.message
	var err error
	m.header, err = syntax.ParseHeader(m.raw, t.snap.Message.MaxHeaderFields)
	if err == nil {
		if whole := t.completeFrom(); whole != nil {
			m.raw, t.in.header = whole, whole
			m.header, err = syntax.ParseHeader(whole, t.snap.Message.MaxHeaderFields)
		}
	}
	switch {
	case errors.Is(err, syntax.ErrManyFields):
		return "max_header_fields", replies.HeaderTooLarge()
	case errors.Is(err, syntax.ErrLongField):
		return "header", replies.FieldTooLarge()
	case errors.Is(err, syntax.ErrControl):
		return "header", replies.HeaderControl()
	case err != nil:
		return "header", replies.HeaderSyntax()
	case m.header.Count("Received") >= t.snap.Message.MaxReceived:
		return "max_received", replies.Loop()
	}
	if f, ok := m.header.Get("Message-ID"); ok {
		t.ev.MessageID = shortened(plain.QuoteControls(f.Text()))
	}
	t.hint()
	t.readFacts()
	rule, r, shadow := t.snap.Rules.Header(t.client, &m.facts)
	if r != nil && (!shadow || t.mustSign()) {
		return rule, r
	}
	if t.ev.Forwarded = t.client.Forwarded(&m.facts); r != nil && t.ev.Forwarded == "" {
		t.ev.Shadow = append(t.ev.Shadow, rule)
	}
	if !t.env.UTF8 && slices.ContainsFunc(m.facts.Authors, func(a mail.Author) bool { return a.UTF8() }) {
		return "smtputf8", replies.AuthorUTF8() // RFC 6531 s. 3.1, item 6
	}
	if rule, r = t.judgeAutomatic(); r != nil {
		return rule, r
	}
	if rule, r = t.judgeSignatures(); r != nil {
		return rule, r
	}
	m.domains = t.signing()
	t.ev.FromRewritten = !m.facts.Plain
	return "", nil
}

// beginHash begins to hash the body for the signatures; nil where none is made.
func (m *message) beginHash() bodyWriter {
	if len(m.domains) == 0 {
		return nil
	}
	m.hash = dkimsign.NewBodyHash()
	return m.hash
}

// shortened keeps at most 250 octets, of what goes into an event.
func shortened(s string) string { return s[:min(len(s), 250)] }

// signing lists the configured domains of the authors, each once: a message of
// two authors is signed for both. Beside an author whom the client does not own
// none signs, for our key would vouch for that one, too.
func (t *transaction) signing() (ds []*dkimsign.Domain) {
	authors := t.message.facts.Authors
	if !t.route.Sign.Signs() {
		return nil
	}
	for i := range authors {
		if !t.client.Owns(authors[i].Address) {
			return nil
		}
		d := t.snap.Signers.For(authors[i].Domain)
		if d != nil && !slices.Contains(ds, d) {
			ds = append(ds, d)
		}
	}
	return ds
}

// mustSign reports whether the domain of an author asks for a signature. Such
// mail does not leave without one, not even in shadow.
func (t *transaction) mustSign() bool {
	return slices.ContainsFunc(t.message.facts.Authors, func(a mail.Author) bool {
		d := t.snap.Signers.For(a.Domain)
		return d != nil && d.Required()
	})
}

// traceRoom is about what the trace fields take, so that they and the header are
// copied once.
const traceRoom = 1 << 10

// seal makes the message as it leaves: the signatures, then the trace fields and
// the header, then the body.
func (t *transaction) seal(now time.Time) (content upstream.Content, err error) {
	in := t.in
	head := t.appendHeader(t.appendScanned(t.trace(make([]byte, 0, len(in.header)+traceRoom), now)))
	prefix, err := t.sign(head, now)
	return upstream.Content{
		Prefix: prefix, Chunks: append([][]byte{head}, in.body.chunks...),
		File: in.body.file, FileSize: in.body.fileSize,
		Size: int64(len(prefix)+len(head)) + in.body.size(),
	}, err
}

// sign makes the DKIM-Signature fields for the header as it will leave. A
// domain that requires its signature fails the message.
func (t *transaction) sign(head []byte, now time.Time) (fields []byte, err error) {
	for _, d := range t.message.domains {
		f, names, err := t.signFor(d, head, now)
		if err != nil && d.Required() {
			return nil, fmt.Errorf("sign for %s: %w", d.Name(), err)
		}
		if err != nil {
			t.srv.fault("sign", err, "domain", d.Name(), "id", t.ev.ID)
			continue
		}
		fields = append(fields, f...)
		t.ev.Signed = append(t.ev.Signed, names...)
	}
	return fields, nil
}

// signFor makes the fields of one domain, as far as the way out lets them.
func (t *transaction) signFor(d *dkimsign.Domain, head []byte, now time.Time) (fields []byte, names []string, err error) {
	way := t.route.Sign
	if way.One() && len(t.ev.Signed) > 0 {
		return nil, nil, dkimsign.ErrOneSignature
	}
	return way.Sign(d, head, t.message.hash, now)
}
