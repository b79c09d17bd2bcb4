package node

import (
	"maps"
	"path/filepath"
	"slices"

	"postern/internal/config"
	"postern/internal/find"
	"postern/mail"
	"postern/outlier/learn"
	"postern/ratelimit/strangers"
)

// openLearning makes what reads from the journal whom clients wrote to before they were
// watched. It does so beside the mail, as long as limits on strangers are in force.
func (n *Node) openLearning(file *config.File) {
	if file.Journal.File == "" {
		return
	}
	n.run(learn.New(n.learning(file)).Run)
}

// learning is what a learn.Keeper needs of the node.
func (n *Node) learning(file *config.File) learn.Options {
	return learn.Options{
		Dir: filepath.Join(file.StateDir, "outlier"), Log: n.log, Report: func(err error) { n.stateWritten("outlier past", err) },
		Watch: n.watch, Days: strangers.WatchedDays,
		Clients: func() []string {
			f := n.file()
			return slices.DeleteFunc(slices.Sorted(maps.Keys(f.Client)), func(client string) bool { return len(strangers.Names(f.Limit, client)) == 0 })
		},
		Journal: func(add func(*mail.Event) error) (skipped int, err error) {
			return find.Past(file.Journal.File, add)
		},
	}
}
