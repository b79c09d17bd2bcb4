package node

import (
	"context"
	"time"

	"postern/internal/config"
	"postern/internal/eventlog"
	"postern/internal/health"
	"postern/mail"
)

// openRecords makes the observer that writes the log and the journals.
func (n *Node) openRecords(file *config.File) mail.Observer {
	lines := eventlog.NewLogObserver(n.log)
	clients, strangers := []mail.Observer{lines}, []mail.Observer{lines}
	if cfg := file.Journal; cfg.File != "" {
		n.journal = n.openJournal(cfg, "", file.StateDir)
		n.strangers = n.openJournal(cfg.Strangers(), "strangers, ", file.StateDir)
		clients, strangers = append(clients, n.journal), append(strangers, n.strangers)
	}
	fruitless := eventlog.NewFruitless(clients, nil)
	records := eventlog.NewStrangers([]mail.Observer{fruitless}, strangers, nil)
	n.opened.add(func(context.Context) { records.Close(); fruitless.Close() })
	n.run(func(ctx context.Context) { n.every(ctx, time.Second, func() { records.Tell(); fruitless.Tell() }) })
	return records
}

func (n *Node) openJournal(cfg eventlog.Config, which, state string) *eventlog.Writer {
	w := eventlog.Open(cfg, eventlog.Options{Log: n.log, NoLink: within(state, cfg.File), Report: func(part string, err error) {
		n.health.Report(health.Journal, which+part, err)
	}})
	n.opened.add(func(context.Context) { w.Close() })
	return w
}

// reopenJournals writes what waits for the disk, to files of their names: for a SIGHUP
// after they were renamed, and before they are searched.
func (n *Node) reopenJournals() {
	if n.journal != nil {
		n.journal.Reopen()
		n.strangers.Reopen()
	}
}
