package node

import (
	"path/filepath"

	"postern/internal/config"
	"postern/relay/halves"
)

// openHalves makes the memory of messages that some domains took and others did not.
// It touches neither disk nor Redis before an upstream asks for it with mx = true.
func (n *Node) openHalves(file *config.File) {
	n.halves = halves.Open(halves.Options{
		File: filepath.Join(file.StateDir, "halves.state"), Log: n.log,
		Redis: n.redis, Prefix: file.Redis.Prefix, Timeout: file.Redis.Timeout,
		Changed: func(err error) { n.stateWritten("halves", err) },
	})
	n.run(n.halves.Run)
	n.wantHalves(file)
}

// wantHalves has the memory ready where mail goes to the recipients' own exchangers.
func (n *Node) wantHalves(file *config.File) {
	for _, up := range file.Upstream {
		if up.MX {
			n.halves.Want(n.background)
			return
		}
	}
}

// countedHalves are counts as metrics name them.
func countedHalves(c halves.Counts) (recipients, copies map[string]int64) {
	return map[string]int64{"kept": c.Kept, "left_out": c.LeftOut}, map[string]int64{
		"crash": c.Crashed, "unwritten": c.Unwritten, "unshared": c.Unshared, "unasked": c.Unasked, "evicted": c.Evicted, "reply_lost": c.Lost,
	}
}
