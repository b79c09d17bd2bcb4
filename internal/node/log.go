package node

import (
	"context"
	"io"
	"log/slog"

	"postern/internal/config"
	"postern/internal/eventlog"
)

// newLog makes the log that [log] asks for; its level can be changed, and the
// lines are to be closed at the end.
func newLog(w io.Writer, cfg config.LogConfig) (*slog.Logger, *eventlog.LineWriter, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, cfg.Level)
	lines := eventlog.NewLineWriter(w)
	return slog.New(eventlog.NewLogHandler(lines, cfg.Format == "json", level)), lines, level
}

func setLevel(v *slog.LevelVar, level config.LogLevel) {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		v.Set(l)
	}
}

// closers are run in the opposite order of their adding.
type closers []func(context.Context)

func (c *closers) add(f func(context.Context)) { *c = append(*c, f) }

func (c closers) run(ctx context.Context) {
	for i := len(c) - 1; i >= 0; i-- {
		c[i](ctx)
	}
}
