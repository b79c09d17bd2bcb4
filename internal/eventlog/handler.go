package eventlog

import (
	"bytes"
	"context"
	"io"
	"log/slog"

	"postern/internal/plain"
)

// LogHandler is slog's handler for text or for JSON on a LineWriter. Lines at
// level warn and above are written out before Handle returns.
type LogHandler struct {
	slog.Handler
	out *LineWriter
}

// NewLogHandler makes lines of JSON, or else of text, for out.
// The line that tells how many lines out did not take has the same form.
func NewLogHandler(out *LineWriter, json bool, level slog.Leveler) *LogHandler {
	out.setTell(func(lost int) []byte {
		var b bytes.Buffer
		slog.New(formatFor(&b, json, level)).Error("log lines lost, standard error did not take them", "lines", lost)
		return b.Bytes()
	})
	return &LogHandler{formatFor(out, json, level), out}
}

func formatFor(out io.Writer, json bool, level slog.Leveler) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	out = plainLines{out}
	if json {
		return slog.NewJSONHandler(out, opts)
	}
	return slog.NewTextHandler(out, opts)
}

// plainLines writes lines so that a terminal shows them and does nothing else.
type plainLines struct{ out io.Writer }

func (w plainLines) Write(line []byte) (int, error) {
	if plain.IsPlain(line) {
		return w.out.Write(line)
	}
	_, err := w.out.Write(plain.Append(nil, line))
	return len(line), err
}

// Handle writes the record.
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.out.flush()
	}
	return err
}

// WithAttrs adds attributes to each line.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LogHandler{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup puts the attributes of each line into a group.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return &LogHandler{h.Handler.WithGroup(name), h.out}
}
