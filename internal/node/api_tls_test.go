package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/smtptest"
)

// startSecureAPI has the port ask for client certificates; the files of both are in dir.
func startSecureAPI(t *testing.T) (a *apiNode, authority *smtptest.CA, dir string) {
	t.Helper()
	authority, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	ca := authority.WriteFile(t, dir)
	certificate, key := authority.WritePair(t, dir, "port", smtptest.Cert{Names: []string{"mail.example.org"}})
	return startAPI(t, fmt.Sprintf("certificate = %q\nkey = %q\nclient_ca = %q\ncertificate_roles = { \"grafana.example.org\" = \"view\" }\n", certificate, key, ca)), authority, dir
}

// TestPortSpeaksTLS: with a certificate it speaks nothing else, takes client certificates
// by their names, and another certificate when its file changes.
func TestPortSpeaksTLS(t *testing.T) {
	a, authority, dir := startSecureAPI(t)
	ask := func(path, token string, own ...tls.Certificate) (status int, leaf *x509.Certificate) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: "mail.example.org", Certificates: own}}}
		r, err := http.NewRequest("GET", strings.Replace(a.port.base, "http:", "https:", 1)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(r)
		if err != nil {
			return 0, nil
		}
		res.Body.Close()
		return res.StatusCode, res.TLS.PeerCertificates[0]
	}
	known, err := authority.Issue(smtptest.Cert{Names: []string{"grafana.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := authority.Issue(smtptest.Cert{Names: []string{"other.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := strangers.Issue(smtptest.Cert{Names: []string{"grafana.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	status, first := ask("/api/v1/status", a.tokens[access.View])
	if status != 200 {
		t.Errorf("with a token: %d", status)
	}
	for name, c := range map[string]struct {
		own  []tls.Certificate
		path string
		want int
	}{
		"without anything": {nil, "/api/v1/status", 401}, "a certificate with a role": {[]tls.Certificate{known}, "/api/v1/status", 200},
		"that role is view": {[]tls.Certificate{known}, "/api/v1/tokens", 403}, "a certificate without a role": {[]tls.Certificate{unknown}, "/api/v1/status", 401},
		"health": {nil, "/livez", 200},
	} {
		if got, _ := ask(c.path, "", c.own...); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got, _ := ask("/api/v1/status", "", foreign); got == 200 {
		t.Error("a certificate of another authority is taken")
	}
	if res, err := http.Get(a.port.base + "/api/v1/status"); err == nil {
		if res.Body.Close(); res.StatusCode != 400 {
			t.Errorf("plain HTTP: %d", res.StatusCode)
		}
	}
	authority.WritePair(t, dir, "port", smtptest.Cert{Names: []string{"mail.example.org"}})
	waitFor(t, "the new certificate", func() bool {
		_, leaf := ask("/livez", "")
		return leaf != nil && !leaf.Equal(first)
	})
	if err := os.WriteFile(filepath.Join(dir, "port.key"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the line in the log", func() bool {
		status, _ := ask("/livez", "")
		return status == 200 && strings.Contains(a.log.String(), "not reloaded")
	})
}

// TestClientCertificateOfThePortIsLookedAtAgain: a connection that is kept open does not
// outlast the authority of its certificate.
func TestClientCertificateOfThePortIsLookedAtAgain(t *testing.T) {
	a, authority, dir := startSecureAPI(t)
	own, err := authority.Issue(smtptest.Cert{Names: []string{"grafana.example.org"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: "mail.example.org", Certificates: []tls.Certificate{own}}}
	dials := 0
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	defer transport.CloseIdleConnections()
	ask := func() int {
		r, err := http.NewRequest("GET", strings.Replace(a.port.base, "http:", "https:", 1)+"/api/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil || dials != 1 {
			t.Fatalf("%v, %d connections", err, dials)
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	if status := ask(); status != 200 {
		t.Fatalf("%d", status)
	}
	strangers, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	strangers.WriteFile(t, dir)
	waitFor(t, "the end of the authority", func() bool { return ask() == 401 })
}

// TestIdleConnectionsKeepNobodyOut: whoever opens more connections than the port has loses
// the first of them, and the last is answered.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	a := startAPI(t, "")
	var idle []net.Conn
	for i := range adminConnections + 20 {
		c, err := net.Dial("tcp", strings.TrimPrefix(a.port.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatalf("connection %d: %q, %v", i, line, err)
		}
		idle = append(idle, c)
	}
	if _, err := io.Copy(io.Discard, idle[0]); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the first connection is still open")
	}
}

// TestSlowClientsAreCutOff: a header that does not come to its end, and connections that
// nobody uses, end by themselves, and no number of them keeps others out for long.
func TestSlowClientsAreCutOff(t *testing.T) {
	a := startAPI(t, "")
	address := strings.TrimPrefix(a.port.base, "http://")
	var slow []net.Conn
	for range adminConnections + 20 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		slow = append(slow, c)
	}
	begin := time.Now()
	if status, _, text := a.port.ask(t, "GET", "/livez", "", ""); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("others wait for %v", took)
	}
	slow[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(slow[0]).ReadString('\n'); err == nil && strings.Contains(line, " 200 ") {
		t.Errorf("half a request was answered: %s", line)
	}
}
