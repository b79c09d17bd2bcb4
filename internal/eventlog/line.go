package eventlog

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"postern/internal/plain"
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

const (
	lineFields    = 18 // that each line has
	refusalFields = 5  // that it may have besides
)

func (o logObserver) Observe(e *mail.Event) {
	ctx := context.Background()
	if !o.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := [lineFields + refusalFields]slog.Attr{
		slog.String("id", e.ID), slog.String("client", e.Client), slog.String("client_ip", e.ClientIP),
		slog.String("helo", e.Helo), slog.String("user", e.User), slog.String("stream", e.Stream),
		slog.String("from", e.From), slog.String("to", recipientsOf(e)), slog.Int("to_count", len(e.To)),
		slog.Int64("size", e.Size), slog.String("stage", e.Stage), slog.String("outcome", e.Outcome),
		slog.Int("code", e.Code), slog.String("status", e.Status), slog.String("rule", e.Rule),
		slog.String("upstream", e.Upstream), slog.String("reply", plain.QuoteControls(e.Reply)),
		slog.Int64("ms", e.Duration.Milliseconds()),
	}
	// Not by LogAttrs: it would look for its caller's place in the code, which no
	// line tells.
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "transaction", 0)
	r.AddAttrs(appendRefusal(attrs[:lineFields], e)...)
	o.log.Handler().Handle(ctx, r)
}

// appendRefusal appends the fields that stand behind the others where a submitter is
// told or somebody was refused.
func appendRefusal(attrs []slog.Attr, e *mail.Event) []slog.Attr {
	if e.Submitter != "" {
		attrs = append(attrs, slog.String("submitter", e.Submitter))
	}
	if e.Class != "" {
		attrs = append(attrs, slog.String("class", string(e.Class)))
	}
	if e.Times > 0 {
		attrs = append(attrs, slog.Int("times", e.Times))
	}
	if e.Err != "" {
		attrs = append(attrs, slog.String("err", e.Err))
	}
	if words := Refused(e); words != "" {
		attrs = append(attrs, slog.String("refused", words))
	}
	return attrs
}

// loggedRefusals is how many kinds of refusals a line names.
const loggedRefusals = 5

// Refused is the field "refused" of a line: how many recipients were refused by
// what, such as "2 by limit sender 450 4.7.1"; "" where none was.
func Refused(e *mail.Event) string {
	kinds := e.Refusals()
	words := make([]string, 0, loggedRefusals+1)
	for _, k := range kinds[:min(len(kinds), loggedRefusals)] {
		words = append(words, k.String())
	}
	if len(kinds) > loggedRefusals {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}

func recipientsOf(e *mail.Event) string {
	if len(e.To) == 1 {
		return e.To[0].Address
	}
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
