package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postern/internal/alert"
)

// Options are what a Runner works with.
type Options struct {
	Board *alert.Board
	Relay string // host name
	Log   *slog.Logger
	// Submit sends mail. It is needed where a channel wants it.
	Submit Submit
	// LinkKey is what release links are signed with.
	LinkKey []byte
	// Count is told how each try ended: "sent", "failed" or "given_up". nil: nobody.
	Count func(channel, result string)
	Now   func() time.Time // nil: time.Now
}

// Runner sends what the board has for each channel, each by itself: one that hangs
// delays no other.
type Runner struct {
	opt Options
	ctx context.Context

	mu      sync.Mutex
	senders map[string]Sender
	running map[string]bool
	wait    sync.WaitGroup
}

// NewRunner makes a runner that ends with ctx.
func NewRunner(ctx context.Context, o Options) *Runner {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	return &Runner{opt: o, ctx: ctx, senders: map[string]Sender{}, running: map[string]bool{}}
}

// Senders makes what sends for each table; nothing is in force yet. from is the author
// of mail where a table names none, stream the way that it leaves by.
func (r *Runner) Senders(tables map[string]Config, from, stream string) (map[string]Sender, error) {
	all := map[string]Sender{}
	var errs []error
	for name, c := range tables {
		s, err := r.sender(name, &c, from, stream)
		if err != nil {
			errs = append(errs, fmt.Errorf("alert.%s: %w", name, err))
			continue
		}
		all[name] = s
	}
	return all, errors.Join(errs...)
}

func (r *Runner) sender(name string, c *Config, from, stream string) (Sender, error) {
	f := form{relay: r.opt.Relay, channel: name, docs: c.Docs, link: c.ReleaseLink, key: r.opt.LinkKey}
	if c.Mail != "" {
		m := &mailer{form: f, stream: c.Stream, from: c.From, to: c.Mail, submit: r.opt.Submit, now: r.opt.Now}
		if m.from == "" {
			m.from = from
		}
		if m.stream == "" {
			m.stream = stream
		}
		return m, nil
	}
	path := ""
	if c.Alertmanager != "" {
		path = "api/v2/alerts"
	}
	p, err := newPoster(c, path, r.opt.Now)
	switch {
	case err != nil:
		return nil, err
	case c.Alertmanager != "":
		return &alertmanager{p, f}, nil
	case c.Style == Slack:
		return &slack{p, f}, nil
	}
	return &webhook{p, f}, nil
}

// Use puts channels in force with what sends for them.
func (r *Runner) Use(tables map[string]Config, senders map[string]Sender) {
	var channels []alert.Channel
	for name, c := range tables {
		channels = append(channels, c.channel(name))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders = senders
	r.opt.Board.SetChannels(channels)
	for name := range senders {
		if !r.running[name] {
			r.running[name] = true
			r.wait.Go(func() { r.run(name) })
		}
	}
}

// Wait returns when all have ended, after the end of the context.
func (r *Runner) Wait() { r.wait.Wait() }

// current is what sends for a channel; nil when the configuration has it no more, and
// then nothing runs for it.
func (r *Runner) current(name string) Sender {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.senders[name]
	if s == nil {
		delete(r.running, name)
	}
	return s
}

// run sends for one channel until the context ends.
func (r *Runner) run(name string) {
	for r.ctx.Err() == nil {
		wake := r.opt.Board.Wake()
		s := r.current(name)
		if s == nil {
			return
		}
		batch, wait := r.opt.Board.Next(name, r.opt.Now())
		if batch != nil {
			r.send(name, s, batch)
			continue
		}
		if wait <= 0 {
			wait = time.Hour
		}
		t := time.NewTimer(wait)
		select {
		case <-wake:
		case <-t.C:
		case <-r.ctx.Done():
		}
		t.Stop()
	}
}

func (r *Runner) send(name string, s Sender, batch *alert.Batch) {
	result := s.Send(r.ctx, batch)
	if r.ctx.Err() != nil && result.Err != nil {
		return // a stop: it stays in the queue
	}
	outcome := "sent"
	if result.Err != nil {
		outcome = "failed"
	}
	switch r.opt.Board.Done(name, batch.ID, result, r.opt.Now()) {
	case "fails":
		r.opt.Log.Error("alerts do not reach their receiver; they wait", "channel", name, "err", result.Err)
	case "works again":
		r.opt.Log.Warn("alerts reach their receiver again", "channel", name)
	case "gave up":
		outcome = "given_up"
		r.opt.Log.Error("the receiver of alerts does not take a notice, which is dropped", "channel", name, "id", batch.ID, "err", result.Err)
	}
	r.opt.Count(name, outcome)
}

// Try sends a test notice to a channel at once and returns how that went.
func (r *Runner) Try(ctx context.Context, name string, a alert.Alert) error {
	r.mu.Lock()
	s := r.senders[name]
	r.mu.Unlock()
	if s == nil {
		return fmt.Errorf("there is no [alert.%s]", name)
	}
	a.Relay, a.Status, a.Kind, a.Severity, a.Docs = r.opt.Relay, alert.Tried, alert.Test, alert.Warning, alert.DocsOf(alert.Test)
	return s.Send(ctx, &alert.Batch{ID: a.ID, Time: r.opt.Now(), Alerts: []alert.Alert{a}}).Err
}
