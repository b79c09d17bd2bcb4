package node

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"syscall"
	"time"

	"postern/internal/alert"
	"postern/internal/config"
)

// certificateSoon is how long before its end a certificate is told.
const certificateSoon = 14 * 24 * time.Hour

// certificateEnd is a file of ours with the end of what it holds.
type certificateEnd struct {
	file, what string
	looked     time.Time
	end        time.Time // zero: it could not be read
}

// lookAgain is how often a file is read for its end.
const lookAgain = 5 * time.Minute

// ownCertificates are those of listeners and of Redis that end soon.
func (a *alerts) ownCertificates(now time.Time) (list []alert.Alert) {
	files := certificateFiles(a.file())
	for i := range files {
		c := &files[i]
		for _, old := range a.certs {
			if old.file == c.file && old.what == c.what {
				*c = old
			}
		}
		if now.Sub(c.looked) >= lookAgain || c.looked.After(now) {
			c.looked = now
			if end, err := endOfFile(c.file); err == nil {
				c.end = end
			}
		}
		left := c.end.Sub(now)
		if c.end.IsZero() || left >= certificateSoon {
			continue
		}
		summary := fmt.Sprintf("the certificate of %s ends in %d days, on %s", c.what, int(left.Hours()/24), c.end.UTC().Format(time.DateTime))
		if left <= 0 {
			summary = fmt.Sprintf("the certificate of %s has expired on %s", c.what, c.end.UTC().Format(time.DateTime))
		}
		list = append(list, alert.Alert{Condition: "certificate file " + c.file + " of " + c.what, Summary: summary, Reason: "renew " + c.file,
			About: alert.About{Scope: "file", Name: c.file}, Numbers: map[string]float64{"days": float64(int(left.Hours() / 24))},
			Commands: []alert.Command{a.shows("check", "-connect")}})
	}
	a.certs = files
	return list
}

func certificateFiles(f *config.File) (files []certificateEnd) {
	add := func(file, what string) {
		if file != "" {
			files = append(files, certificateEnd{file: file, what: what})
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

// endOfFile is when the first certificate of a PEM file ends.
func endOfFile(name string) (end time.Time, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return end, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	if end.IsZero() {
		return end, fmt.Errorf("%s holds no certificate", name)
	}
	return end, nil
}

// freeSpace is what the disk of a folder has left for us.
func freeSpace(folder string) (free uint64, share float64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil || s.Blocks == 0 {
		return 0, 0, false
	}
	return s.Bavail * uint64(s.Bsize), float64(s.Bavail) / float64(s.Blocks), true
}
