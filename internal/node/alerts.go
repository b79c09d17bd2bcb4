package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"postern/internal/admin"
	"postern/internal/alert"
	"postern/internal/alert/deliver"
	"postern/internal/alert/watch"
	"postern/internal/config"
	"postern/internal/expiry"
	"postern/internal/statefile"
	"postern/mail"
)

// alerts tells people what is wrong with a node. Without an [alert.NAME] nothing of it
// looks at anything.
type alerts struct {
	*Node
	board  *alert.Board
	runner *deliver.Runner
	watch  *watch.Watch
	state  *statefile.File
	key    []byte      // of release links
	on     atomic.Bool // there is a channel
	saved  time.Time   // when state was written, and how long that took
	took   time.Duration
	certs  expiry.Watch
}

// maxAlertState bounds the file of the board.
const maxAlertState = 128 << 20

// openAlerts reads what an earlier node has left and begins to send what is due.
func (n *Node) openAlerts(file *config.File) error {
	a := &alerts{Node: n, watch: watch.New(time.Now), state: statefile.New(filepath.Join(file.StateDir, "alerts.json"), maxAlertState)}
	n.alerts = a
	newID := func() string { return mail.NewID(time.Now()) }
	a.board = alert.New(alert.Options{Relay: file.Hostname, NewID: newID})
	if err := a.load(); err != nil {
		n.log.Error("alerts begin anew", "err", err)
	}
	a.openKey(filepath.Join(file.StateDir, "alerts.secret"))
	a.runner = deliver.NewRunner(n.background, deliver.Options{Board: a.board, Relay: file.Hostname, Log: n.log, Submit: a.submit, LinkKey: a.key,
		Count: n.metrics.CountAlert})
	senders, err := a.senders(file)
	if err != nil {
		return err
	}
	a.use(file, senders)
	n.run(func(ctx context.Context) {
		<-ctx.Done()
		a.runner.Wait()
	})
	return nil
}

func (a *alerts) load() error {
	text, err := a.state.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		err = a.board.Load(text)
	}
	if err != nil {
		return a.state.SetAside(err)
	}
	return nil
}

// openKey reads or draws the key of release links. One that cannot be kept holds until
// the next start.
func (a *alerts) openKey(path string) {
	const size = 32
	f := statefile.New(path, size)
	key, err := f.Read()
	if err == nil && len(key) == size {
		a.key = key
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("release links of before hold no longer", "err", f.SetAside(err))
	}
	a.key = make([]byte, size)
	rand.Read(a.key) // never fails since Go 1.24
	a.stateWritten("alerts.secret", f.Write(a.key))
}

// senders makes what sends for a configuration, which is not in force yet.
func (a *alerts) senders(f *config.File) (map[string]deliver.Sender, error) {
	return a.runner.Senders(f.Alert, f.Postmaster, f.OnlyStream())
}

func (a *alerts) use(f *config.File, senders map[string]deliver.Sender) {
	a.on.Store(len(senders) > 0)
	a.runner.Use(f.Alert, senders)
}

// startAlerts begins to look at what there is to tell.
func (n *Node) startAlerts() {
	n.run(func(ctx context.Context) {
		ticks := 0
		n.every(ctx, time.Second, func() {
			if ctx.Err() == nil {
				n.alerts.look(ticks)
				n.alerts.save(false)
				ticks++
			}
		})
		n.alerts.runner.Wait()
		n.alerts.save(true)
	})
}

// save writes the board's state when it has changed; in a flood of changes it takes
// at most a twentieth of the time.
func (a *alerts) save(last bool) {
	if !a.board.Changed() || !last && time.Since(a.saved) < 20*a.took {
		return
	}
	begin := time.Now()
	text, err := a.board.Save()
	if err == nil {
		err = a.state.Write(text)
	}
	if err != nil {
		a.board.Fail()
	}
	a.stateWritten("alerts", err)
	a.saved, a.took = time.Now(), time.Since(begin)
}

// Observe takes events in while there is a channel.
func (a *alerts) Observe(e *mail.Event) {
	if a.on.Load() {
		a.watch.Observe(e)
	}
}

// status is what relay alert list shows.
func (a *alerts) status() admin.AlertStatus {
	s := admin.AlertStatus{Conditions: a.board.Conditions(), Channels: a.board.Channels()}
	if s.Conditions == nil {
		s.Conditions = []alert.Alert{}
	}
	return s
}

// known says why the configuration has no such channel.
func (a *alerts) known(channel string) error {
	if _, ok := a.file().Alert[channel]; !ok {
		return fmt.Errorf("the configuration has no [alert.%s]; there %s", channel, namesWords(sortedNames(a.file().Alert)))
	}
	return nil
}

// test sends a notice to a channel at once.
func (a *alerts) test(ctx context.Context, channel, by string) error {
	if err := a.known(channel); err != nil {
		return err
	}
	now := time.Now()
	id := mail.NewID(now)
	return a.runner.Try(ctx, channel, alert.Alert{
		ID: id, Opened: id, Condition: "test of " + channel, Since: now,
		Summary: "this is a test of the channel " + channel + "; nothing is wrong", Reason: "asked for by " + by,
		Commands: []alert.Command{a.shows("alert", "list")},
	})
}

// failing are the channels whose receiver does not take what is due.
func (a *alerts) failing() (list []admin.Reason) {
	for _, c := range a.board.Channels() {
		if !c.Failing.IsZero() {
			list = append(list, admin.Reason{What: admin.Alerting, Name: c.Name, Since: c.Failing,
				Text: fmt.Sprintf("alerts do not reach channel %s (%d wait): %s", c.Name, c.Queued, c.Err)})
		}
	}
	return list
}

// shows is the command that shows more.
func (n *Node) shows(words ...string) alert.Command {
	return alert.Command{What: "show", Line: n.command(words...)}
}

func sortedNames[T any](m map[string]T) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
