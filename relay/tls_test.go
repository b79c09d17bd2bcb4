package relay

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/relay/smtpd"
)

// shows is the certificate that the listener shows for a name.
func (r *rig) shows(name string) string {
	r.t.Helper()
	p := r.connect()
	defer p.conn.Close()
	p.startTLS(&tls.Config{RootCAs: r.ca.Pool(), ServerName: name})
	p.want("220")
	return p.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (r *rig) newPair(dir, name string, names ...string) {
	r.t.Helper()
	r.ca.WritePair(r.t, dir, name, smtptest.Cert{Names: names})
}

// A certificate that changes on the disk is served without a restart; one that
// cannot be used leaves the old one in use, and the next good one is taken.
func TestCertificateIsReadAgain(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSImplicit
	r.start()
	dir := filepath.Dir(r.listener.Certificate)
	log := slog.New(slog.DiscardHandler)
	first := r.shows("relay.test")
	r.lis.Refresh(log)
	if got := r.shows("relay.test"); got != first {
		t.Error("changed without cause")
	}

	r.newPair(dir, "relay", "relay.test")
	r.touch(r.listener.Certificate, time.Hour)
	r.lis.Refresh(log)
	second := r.shows("relay.test")
	if second == first {
		t.Error("the new certificate is not served")
	}

	if err := os.WriteFile(r.listener.Key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.lis.Refresh(log)
	if got := r.shows("relay.test"); got != second {
		t.Error("a key that cannot be used changed what is served")
	}

	r.newPair(dir, "relay", "relay.test")
	r.touch(r.listener.Certificate, 2*time.Hour)
	r.lis.Refresh(log)
	if got := r.shows("relay.test"); got == second {
		t.Error("the mended certificate is not served")
	}
}

// touch makes a file as old as it says, so that a change shows however coarse
// the clock of the file system is.
func (r *rig) touch(file string, age time.Duration) {
	at := time.Now().Add(-age)
	if err := os.Chtimes(file, at, at); err != nil {
		r.t.Fatal(err)
	}
}

// Of several certificates the one for the asked name is served.
func TestCertificateIsChosenByName(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSImplicit
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := ca.WritePair(t, dir, "second", smtptest.Cert{Names: []string{"second.test"}})
	r.listener.Certificates = []smtpd.CertificateConfig{{Certificate: cert, Key: key}}
	r.start()
	p := r.connect()
	p.startTLS(&tls.Config{RootCAs: ca.Pool(), ServerName: "second.test"})
	p.want("220")
	r.shows("relay.test")
}

// TLS before 1.2 is not spoken.
func TestOldTLSIsRefused(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSImplicit
	p := r.connect()
	c := r.clientTLS(false)
	c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := tls.Client(p.conn, c).Handshake(); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

// A client certificate of another authority makes no client: the handshake
// fails.
func TestForeignClientCertificateIsRefused(t *testing.T) {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSImplicit
	r.start()
	other, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := other.Issue(smtptest.Cert{Names: []string{"mta.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	p := r.connect()
	c := r.clientTLS(false)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	conn := tls.Client(p.conn, c)
	err = conn.Handshake()
	if err == nil { // under TLS 1.3 the refusal comes with the first read
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("was served")
	}
}

// A listener that cannot work says why at start.
func TestListenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.WritePair(t, dir, "relay", smtptest.Cert{Names: []string{"relay.test"}})
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]smtpd.ListenerConfig{
		"certificate missing":     {TLS: smtpd.TLSOptional, Certificate: filepath.Join(dir, "none"), Key: key},
		"key of another":          {TLS: smtpd.TLSOptional, Certificate: cert, Key: cert},
		"authority missing":       {TLS: smtpd.TLSOptional, Certificate: cert, Key: key, ClientCA: filepath.Join(dir, "none")},
		"authority without a PEM": {TLS: smtpd.TLSOptional, Certificate: cert, Key: key, ClientCA: empty},
		"address in use":          {Address: busyPort(t)},
	} {
		if !c.Address.IsValid() {
			c.Address = netip.MustParseAddrPort("127.0.0.1:0")
		}
		if lis, err := smtpd.Listen("x", c); err == nil {
			lis.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func busyPort(t *testing.T) netip.AddrPort {
	lis, err := smtpd.Listen("busy", smtpd.ListenerConfig{Address: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return netip.MustParseAddrPort(lis.Addr().String())
}
