package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/eventlog"
)

// runServe runs the relay until SIGTERM or SIGINT; SIGHUP reads the
// configuration again.
func runServe(io stdio, args []string) int {
	f := flag.NewFlagSet("relay serve", flag.ContinueOnError)
	f.SetOutput(io.err)
	named := configFlag(f, "")
	path, status, ok := parseConfig(f, named, args)
	if !ok {
		return status
	}
	file, ok := loadChecked(io, path, config.Load)
	if !ok {
		return exitUsage
	}
	// A reader of standard error or output that goes away ends nothing: without
	// this the first line after it would be a SIGPIPE.
	signal.Ignore(syscall.SIGPIPE)
	// Before anything is open: a signal that comes early is not lost.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	n, err := startNode(io, file)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(io.err, "relay serve: %s\n", line)
		}
		return exitFault
	}
	return n.wait(path, signals)
}

// wait obeys signals until the node has stopped.
func (n *node) wait(path string, signals <-chan os.Signal) int {
	for {
		select {
		case err := <-n.failed:
			n.log.Error("stopping", "err", err)
			n.stop()
			return exitFault
		case s := <-signals:
			if s == syscall.SIGHUP {
				n.reopenJournals()
				n.reloadFrom(path)
				continue
			}
			n.log.Info("stopping", "signal", s.String())
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				n.stop()
			}()
			if !waitStopped(stopped, signals) {
				n.log.Error("stopped at once by a second signal")
				return exitFault
			}
			return exitOK
		}
	}
}

// waitStopped is false when a second signal asks not to wait any longer.
func waitStopped(stopped <-chan struct{}, signals <-chan os.Signal) bool {
	for {
		select {
		case <-stopped:
			return true
		case s := <-signals:
			if s != syscall.SIGHUP {
				return false
			}
		}
	}
}

// reloadFrom reads the file again. With any problem the old configuration
// stays in force, and each problem is a log line.
func (n *node) reloadFrom(path string) {
	problems := n.tryReload(path)
	n.condition.reloaded.Store(&admin.ReloadStatus{Time: time.Now(), OK: len(problems) == 0, Problems: problems})
	for _, p := range problems {
		n.log.Error("configuration not reloaded, the old one stays in force", "problem", p)
	}
	if len(problems) == 0 {
		n.log.Info("configuration reloaded", "file", path)
	}
}

// tryReload puts the file into force or returns what is wrong with it.
func (n *node) tryReload(path string) (problems []string) {
	file, warnings, err := config.Load(path)
	if err == nil {
		for _, w := range warnings {
			n.log.Warn("configuration", "warning", w.String())
		}
		err = n.reload(file)
	}
	if err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

// newLog makes the log that [log] asks for; its level can be changed, and the
// lines are to be closed at the end.
func newLog(io stdio, cfg config.LogConfig) (*slog.Logger, *eventlog.LineWriter, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, cfg.Level)
	lines := eventlog.NewLineWriter(io.err)
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
