package node

import (
	"path/filepath"

	"postern/internal/config"
	"postern/internal/find"
	"postern/mail"
	"postern/outlier/tune"
)

// openTuning makes what finds the sensitivity of the watch by the false alarms that an
// operator accepts. It looks at the journal beside the mail, as long as a reload asks for it.
func (n *Node) openTuning(file *config.File) {
	n.tuning = tune.NewKeeper(tune.Options{
		Dir: filepath.Join(file.StateDir, "outlier"), Log: n.log, Report: func(err error) { n.stateWritten("outlier tune", err) },
		Journal: func(add func(*mail.Event) error) error {
			_, err := find.Past(file.Journal.File, add)
			return err
		},
		Confirmed: func() []string { return n.watch.Confirmed() },
		Set:       func(sensitivity float64) { n.watch.SetSensitivity(sensitivity) },
	})
}
