package node

import (
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
)

// Reload opens the files of the journal anew, since they may have been renamed,
// and reads the configuration at path again. With any problem the old
// configuration stays in force, and each problem is a log line. It returns how it went.
func (n *Node) Reload(path string) admin.ReloadStatus {
	n.reopenJournals()
	problems := n.tryReload(path)
	status := admin.ReloadStatus{Time: time.Now(), OK: len(problems) == 0, Problems: problems}
	n.condition.reloaded.Store(&status)
	for _, p := range problems {
		n.log.Error("configuration not reloaded, the old one stays in force", "problem", p)
	}
	if len(problems) == 0 {
		n.log.Info("configuration reloaded", "file", path)
	}
	return status
}

// tryReload puts the file into force or returns what is wrong with it.
func (n *Node) tryReload(path string) (problems []string) {
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
