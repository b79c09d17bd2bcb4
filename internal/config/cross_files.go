package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/secret"
)

// maxPEM is the size up to which certificates and authorities are read.
const maxPEM = 4 << 20

// certificate reads a pair of files and returns the leaf, or nothing when
// there is a problem with them.
func (x *crossCheck) certificate(path, certificate, key string) []*x509.Certificate {
	if certificate == "" || key == "" || x.d.beside == leftAlone {
		return nil // a missing one is reported by the listener's own check
	}
	chain, ok := x.read(join(path, "certificate"), certificate)
	private, ok2 := x.d.secretFile(key, join(path, "key"))
	if !ok || !ok2 {
		return nil
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		x.d.problem(join(path, "certificate"), strings.TrimPrefix(err.Error(), "tls: ")+"; name a PEM chain, leaf first, and its key")
		return nil
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil // X509KeyPair has parsed it
	}
	if left := time.Until(leaf.NotAfter); left < 0 {
		x.d.warn(join(path, "certificate"), fmt.Sprintf("expired on %s; renew it", leaf.NotAfter.Format(time.DateOnly)))
	}
	return []*x509.Certificate{leaf}
}

// covers reports whether one of the certificates is for host.
func covers(leaves []*x509.Certificate, host string) bool {
	for _, l := range leaves {
		if l.VerifyHostname(host) == nil {
			return true
		}
	}
	return false
}

// authorities reads a PEM file of certificates.
func (x *crossCheck) authorities(path, file string) {
	if x.d.beside == leftAlone {
		return
	}
	text, ok := x.read(path, file)
	if !ok {
		return
	}
	found := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			x.d.problem(path, fmt.Sprintf("%s holds a damaged certificate (%v); replace it", file, err))
			return
		}
		found++
	}
	if found == 0 {
		x.d.problem(path, fmt.Sprintf("%s holds no certificate; name a PEM file of authorities", file))
	}
}

// read reads a file that a key names, or reports why it cannot.
func (x *crossCheck) read(path, file string) ([]byte, bool) {
	text, err := readBounded(file, maxPEM)
	if err == nil {
		return text, true
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", file, p.Err)
	}
	x.d.unreadable(path, err, fmt.Sprintf("%v; name a file that the relay can read", err))
	return nil, false
}

// files reads what other tables name.
func (x *crossCheck) files() {
	if x.d.beside == leftAlone {
		return
	}
	x.folder("journal.file", x.Journal.File)
	x.folder("journal.strangers_file", x.Journal.StrangersFile)
	x.folder("control.socket", x.Control.Socket)
	for _, name := range sortedKeys(x.Upstream) {
		if ca := x.Upstream[name].CA; ca != "" {
			x.authorities(join(join("upstream", name), "ca"), ca)
		}
	}
	if x.Redis.CA != "" {
		x.authorities("redis.ca", x.Redis.CA)
	}
	x.certificate("redis", x.Redis.Certificate, x.Redis.Key)
	if x.Reputation.ReplyRules != "" {
		x.read("reputation.reply_rules", x.Reputation.ReplyRules)
	}
	for _, zone := range sortedKeys(x.Reputation.DNSBL) {
		if file := x.Reputation.DNSBL[zone].KeyFile; file != "" {
			x.zoneKey(join(join("reputation.dnsbl", zone), "key_file"), file)
		}
	}
}

// zoneKey reads the key of a paid query service.
func (x *crossCheck) zoneKey(path, file string) {
	if text, ok := x.d.secretFile(file, path); ok {
		if _, err := secret.Text(text); err != nil {
			x.d.problem(path, "the file "+err.Error())
		}
	}
}

// folder checks that a file can be made where it is to be; the relay makes
// state_dir itself.
func (x *crossCheck) folder(path, file string) {
	folder := filepath.Dir(file)
	if file == "" || folder == filepath.Clean(x.StateDir) {
		return
	}
	switch info, err := os.Stat(folder); {
	case err != nil:
		x.d.unreadable(path, err, folder+": no such folder; make it, or choose another")
	case !info.IsDir():
		x.d.problem(path, folder+": no such folder; make it, or choose another")
	}
}
