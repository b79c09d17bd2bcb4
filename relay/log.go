package relay

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"

	"postern/mail"
)

// logObserver writes one line per transaction, its fields in the order that
// operators' tools rely on.
type logObserver struct{ log *slog.Logger }

// NewLogObserver writes each event as the line "transaction" to log, at level
// info.
func NewLogObserver(log *slog.Logger) mail.Observer { return logObserver{log} }

// loggedRecipients is how many recipients a line names; to_count tells them all.
const loggedRecipients = 5

func (o logObserver) Observe(e *mail.Event) {
	ctx := context.Background()
	if !o.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := [...]slog.Attr{
		slog.String("id", e.ID), slog.String("client", e.Client), slog.String("client_ip", e.ClientIP),
		slog.String("helo", e.Helo), slog.String("user", e.User), slog.String("stream", e.Stream),
		slog.String("from", e.From), slog.String("to", recipientsOf(e)), slog.Int("to_count", len(e.To)),
		slog.Int64("size", e.Size), slog.String("stage", e.Stage), slog.String("outcome", e.Outcome),
		slog.Int("code", e.Code), slog.String("status", e.Status), slog.String("rule", e.Rule),
		slog.String("upstream", e.Upstream), slog.String("reply", quoteControls(e.Reply)),
		slog.Int64("ms", e.Duration.Milliseconds()),
	}
	o.log.LogAttrs(ctx, slog.LevelInfo, "transaction", append(attrs[:], refusalAttrs(e)...)...)
}

// refusalAttrs are the fields that stand behind the others where somebody was
// refused.
func refusalAttrs(e *mail.Event) (attrs []slog.Attr) {
	if e.Class != "" {
		attrs = append(attrs, slog.String("class", e.Class))
	}
	if e.Times > 0 {
		attrs = append(attrs, slog.Int("times", e.Times))
	}
	if e.Err != "" && e.Client == "" && e.Stage == stageConnect {
		attrs = append(attrs, slog.String("err", e.Err))
	}
	if kinds := e.Refusals(); len(kinds) > 0 {
		attrs = append(attrs, slog.String("refused", refusalWords(kinds)))
	}
	return attrs
}

// loggedRefusals is how many kinds of refusals a line names.
const loggedRefusals = 5

func refusalWords(kinds []mail.Refusal) string {
	var words []string
	for _, k := range kinds[:min(len(kinds), loggedRefusals)] {
		words = append(words, k.String())
	}
	if len(kinds) > loggedRefusals {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}

func recipientsOf(e *mail.Event) string {
	var b strings.Builder
	for i := range e.To {
		if i == loggedRecipients {
			b.WriteString(",...")
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e.To[i].Address)
	}
	return b.String()
}

// quote makes text from a peer safe for a log and for an event: at most 200
// octets, in quotes, controls escaped.
func quote(s string) string { return strconv.QuoteToASCII(clip(s, 200)) }

// quoteControls leaves plain text as it is and quotes what holds controls.
func quoteControls(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return quote(s)
		}
	}
	return s
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// addrText is an address as text, made again only when it is another one.
type addrText struct {
	addr netip.Addr
	text string
}

// of is the text of addr, "" for the zero Addr.
func (t *addrText) of(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	if addr != t.addr {
		t.addr, t.text = addr, addr.String()
	}
	return t.text
}

func equalFold(b []byte, s string) bool { return len(b) == len(s) && strings.EqualFold(string(b), s) }

func stack() string { return string(debug.Stack()) }
