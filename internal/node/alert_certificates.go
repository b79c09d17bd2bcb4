package node

import (
	"fmt"
	"syscall"
	"time"

	"postern/internal/alert"
	"postern/internal/config"
	"postern/internal/expiry"
	"postern/internal/text"
)

// ownCertificates are those of listeners, Redis and [admin] that end soon.
func (a *alerts) ownCertificates(now time.Time) (list []alert.Alert) {
	for _, c := range a.certs.Ending(certificateFiles(a.file()), now) {
		left := c.End.Sub(now)
		summary := fmt.Sprintf("the certificate of %s ends in %s, on %s", c.What, text.Count(int(left.Hours()/24), "day", "days"), c.End.UTC().Format(time.DateTime))
		if left <= 0 {
			summary = fmt.Sprintf("the certificate of %s has expired on %s", c.What, c.End.UTC().Format(time.DateTime))
		}
		list = append(list, alert.Alert{Condition: "certificate file " + c.Name + " of " + c.What, Summary: summary, Reason: "renew " + c.Name,
			About: alert.About{Scope: "file", Name: c.Name}, Numbers: map[string]float64{"days": float64(int(left.Hours() / 24))},
			Commands: []alert.Command{a.shows("check", "-connect")}})
	}
	return list
}

func certificateFiles(f *config.File) (files []expiry.File) {
	add := func(file, what string) {
		if file != "" {
			files = append(files, expiry.File{Name: file, What: what})
		}
	}
	for _, name := range sortedNames(f.Listener) {
		l := f.Listener[name]
		add(l.Certificate, "listener "+name)
		for _, c := range l.Certificates {
			add(c.Certificate, "listener "+name)
		}
	}
	add(f.Redis.Certificate, "redis")
	add(f.Admin.Certificate, "[admin]")
	return files
}

// freeSpace is what the disk of a folder has left for us.
func freeSpace(folder string) (free uint64, share float64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil || s.Blocks == 0 {
		return 0, 0, false
	}
	return s.Bavail * uint64(s.Bsize), float64(s.Bavail) / float64(s.Blocks), true
}
