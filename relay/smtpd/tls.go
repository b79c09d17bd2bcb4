package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"postern/internal/secret"
	"postern/internal/tlsmin"
)

// tlsFiles is the TLS side of one listener. Its files are read at start and
// again whenever one of them has changed; a change that cannot be used leaves
// the old ones in use.
type tlsFiles struct {
	pairs    []CertificateConfig
	min      tlsmin.Version
	clientCA string
	current  atomic.Pointer[tls.Config]
	stamp    string
}

// loadTLS reads the files of a listener; nil when it has no TLS.
func loadTLS(cfg *ListenerConfig) (*tlsFiles, error) {
	if cfg.TLS == TLSNone || cfg.TLS == "" {
		return nil, nil
	}
	f := &tlsFiles{
		pairs:    append([]CertificateConfig{{cfg.Certificate, cfg.Key}}, cfg.Certificates...),
		clientCA: cfg.ClientCA, min: cfg.TLSMin,
	}
	return f, f.load()
}

func (f *tlsFiles) config() *tls.Config { return f.current.Load() }

func (f *tlsFiles) load() error {
	f.stamp = f.stampNow() // also when it fails: say so once, try again after the next change
	c := &tls.Config{}
	f.min.Limit(c)
	for _, p := range f.pairs {
		pair, err := secret.KeyPair(p.Certificate, p.Key)
		if err != nil {
			return fmt.Errorf("load certificate %q with key %q: %w", p.Certificate, p.Key, err)
		}
		c.Certificates = append(c.Certificates, pair)
	}
	if f.clientCA != "" {
		pem, err := os.ReadFile(f.clientCA)
		if err != nil {
			return fmt.Errorf("read client_ca: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("client_ca %q holds no PEM certificate", f.clientCA)
		}
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	f.current.Store(c)
	return nil
}

// stampNow tells the files' state apart from any other.
func (f *tlsFiles) stampNow() string {
	stamp := ""
	add := func(path string) {
		if info, err := os.Stat(path); err == nil {
			stamp += fmt.Sprintf("%s %d %d\n", path, info.ModTime().UnixNano(), info.Size())
		}
	}
	for _, p := range f.pairs {
		add(p.Certificate)
		add(p.Key)
	}
	if f.clientCA != "" {
		add(f.clientCA)
	}
	return stamp
}

// refresh reads the files again when one has changed.
func (f *tlsFiles) refresh(log *slog.Logger, listener string) {
	if f.stampNow() == f.stamp {
		return
	}
	if err := f.load(); err != nil {
		log.Error("certificate not reloaded, the old one stays in use", "listener", listener, "err", err)
		return
	}
	log.Info("certificate reloaded", "listener", listener)
}

// certificateNames are the names (SAN) of a client certificate that has been
// verified; nil without one.
func certificateNames(state *tls.ConnectionState) []string {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	names := append([]string{}, leaf.DNSNames...)
	names = append(names, leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	return names
}
