package access

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"postern/internal/secret"
)

// TLS is that of the port of [admin]. Its files are read at start and again when one of
// them has changed; a change that cannot be used leaves the old ones in use.
type TLS struct {
	config func() Config
	report func(error)
	now    func() time.Time

	mu      sync.Mutex
	looked  time.Time
	stamp   string
	current *tls.Config
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// NewTLS reads the files that config names at each call; report is told of files that
// cannot be used later. nil: there is no certificate, and the port speaks plain HTTP.
func NewTLS(config func() Config, now func() time.Time, report func(error)) (*TLS, error) {
	if c := config(); c.Certificate == "" {
		return nil, nil
	}
	t := &TLS{config: config, now: now, report: report}
	return t, t.load()
}

// Config is for a listener: each connection gets the files as they are then.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.fresh(), nil }}
}

func (t *TLS) fresh() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.looked) >= lookEvery {
		t.looked = now
		c := t.config()
		if stampOf(c.Certificate)+stampOf(c.Key)+stampOf(c.ClientCA) != t.stamp {
			if err := t.load(); err != nil {
				t.report(err)
			}
		}
	}
	return t.current
}

// Recheck takes from a request the client certificate that would not be verified now: a
// connection lives on, where the certificate has ended or its authority has been taken away.
func (t *TLS) Recheck(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && !t.verifies(r.TLS.PeerCertificates) {
			state, without := *r.TLS, *r
			state.VerifiedChains, without.TLS = nil, &state
			r = &without
		}
		next.ServeHTTP(w, r)
	})
}

// verifies verifies a chain, leaf first, as the handshake does.
func (t *TLS) verifies(chain []*x509.Certificate) bool {
	o := x509.VerifyOptions{Roots: t.fresh().ClientCAs, Intermediates: x509.NewCertPool(), CurrentTime: t.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if o.Roots == nil { // those of the system would be taken
		return false
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err == nil
}

// load reads the files; t.mu is held, or nobody else has t yet.
func (t *TLS) load() error {
	c := t.config()
	t.stamp = stampOf(c.Certificate) + stampOf(c.Key) + stampOf(c.ClientCA)
	pair, err := secret.KeyPair(c.Certificate, c.Key)
	if err != nil {
		return fmt.Errorf("load certificate %q with key %q: %w", c.Certificate, c.Key, err)
	}
	next := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair}}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return fmt.Errorf("read client_ca: %w", err)
		}
		next.ClientCAs = x509.NewCertPool()
		if !next.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("client_ca %q holds no PEM certificate", c.ClientCA)
		}
		next.ClientAuth = tls.VerifyClientCertIfGiven
	}
	t.current = next
	return nil
}
