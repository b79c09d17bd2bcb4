package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postern/mail"
)

// LogHandler is slog's handler for text or for JSON on a LineWriter. Lines at
// level warn and above are written out before Handle returns. NewLogObserver
// knows it and renders its line without slog.
type LogHandler struct {
	slog.Handler
	out   *LineWriter
	json  bool
	plain bool // no attributes or group were added
}

// NewLogHandler makes lines of JSON, or else of text, for out.
func NewLogHandler(out *LineWriter, json bool, level slog.Leveler) *LogHandler {
	h := &LogHandler{out: out, json: json, plain: true}
	opts := &slog.HandlerOptions{Level: level}
	if json {
		h.Handler = slog.NewJSONHandler(out, opts)
	} else {
		h.Handler = slog.NewTextHandler(out, opts)
	}
	return h
}

// Handle writes the record.
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.out.Flush()
	}
	return err
}

// WithAttrs adds attributes to each line.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LogHandler{Handler: h.Handler.WithAttrs(attrs), out: h.out, json: h.json}
}

// WithGroup puts the attributes of each line into a group.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return &LogHandler{Handler: h.Handler.WithGroup(name), out: h.out, json: h.json}
}

// lineRooms holds room for lines; a line names five recipients at most and is
// clipped by the session's own limits.
var lineRooms = sync.Pool{New: func() any { return new(lineRoom) }}

// lineRoom is what is kept from one line for the next.
type lineRoom struct {
	b      []byte
	second second
}

// maxPooledLine is the room that is kept for the next line.
const maxPooledLine = 16 << 10

// transaction writes the line of e.
func (h *LogHandler) transaction(at time.Time, e *mail.Event) {
	room := lineRooms.Get().(*lineRoom)
	b := room.appendTransaction(room.b[:0], h.json, at, e)
	h.out.Write(b)
	if cap(b) <= maxPooledLine {
		room.b = b
	}
	lineRooms.Put(room)
}

// appendTransaction appends the line that slog makes of transactionAttrs.
func (r *lineRoom) appendTransaction(b []byte, json bool, at time.Time, e *mail.Event) []byte {
	s := r.second.of(at)
	if json {
		return appendJSONLine(b, s, at.Nanosecond(), e)
	}
	return appendTextLine(b, s, at.Nanosecond(), e)
}
