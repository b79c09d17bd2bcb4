package node

import (
	"fmt"
	"time"

	"postern/internal/admin"
	"postern/scan"
)

// scannerReason is that of a scanner that is down. It keeps the relay from being
// ready when all mail has waited for it for longer than after.
func scannerReason(s *scan.ScannerState, cfg scan.Config, after time.Duration, now time.Time) (reason admin.Reason, ready bool) {
	reason = admin.Reason{What: admin.Scanner, Name: s.Name, Since: s.Since}
	switch {
	case cfg.Mode == scan.Shadow:
		reason.Text = fmt.Sprintf("scanner %s, which is only watched, is down: %s", s.Name, s.Why)
	case cfg.OnFailure == scan.Pass:
		reason.Text = fmt.Sprintf("scanner %s is down, and mail leaves without its verdict: %s", s.Name, s.Why)
	case len(cfg.Clients)+len(cfg.Streams) > 0:
		reason.Text = fmt.Sprintf("scanner %s is down, and mail of its clients and streams waits: %s", s.Name, s.Why)
	default:
		reason.Text = fmt.Sprintf("scanner %s is down, and mail waits: %s", s.Name, s.Why)
		return reason, now.Sub(s.Since) < after
	}
	return reason, true
}
