// Package expiry tells when certificates in files end, so that somebody hears of it
// before mail stops.
package expiry

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

const (
	// Soon is how long before its end a certificate is told.
	Soon = 14 * 24 * time.Hour
	// lookAgain is how often a file is read for its end.
	lookAgain = 5 * time.Minute
)

// File is a file with certificates.
type File struct {
	Name string
	What string    // whose it is, in words
	End  time.Time // of the certificate that ends first; zero: it could not be read

	looked time.Time
}

// Watch remembers what it has read, so that it may be asked each second. The zero
// value is ready; one goroutine uses it at a time.
type Watch struct{ files []File }

// Ending are those of files that have ended, or end soon. A file that cannot be read
// keeps the end that it had.
func (w *Watch) Ending(files []File, now time.Time) (ending []File) {
	for i := range files {
		f := &files[i]
		for _, old := range w.files {
			if old.Name == f.Name && old.What == f.What {
				f.End, f.looked = old.End, old.looked
			}
		}
		if now.Sub(f.looked) >= lookAgain || f.looked.After(now) {
			f.looked = now
			if end, err := Read(f.Name); err == nil {
				f.End = end
			}
		}
		if !f.End.IsZero() && f.End.Sub(now) < Soon {
			ending = append(ending, *f)
		}
	}
	w.files = files
	return ending
}

// Read is when the first certificate of a PEM file ends.
func Read(name string) (end time.Time, err error) {
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
