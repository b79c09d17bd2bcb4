package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTokens(t *testing.T) (*Tokens, *clock, string) {
	t.Helper()
	c := &clock{time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	file := filepath.Join(t.TempDir(), "tokens.jsonl")
	return NewTokens(func() string { return file }, c.now, nil), c, file
}

func (c *clock) token(name string, role Role) Token {
	return Token{Name: name, Role: role, Expires: c.t.Add(24 * time.Hour)}
}

func TestTokenHoldsUntilItIsRevokedOrExpires(t *testing.T) {
	tokens, clock, file := newTokens(t)
	text, made, err := tokens.New(clock.token("ops", Operate))
	if err != nil || !strings.HasPrefix(text, "pst_") || len(text) != 47 {
		t.Fatalf("%q %+v %v", text, made, err)
	}
	content, err := os.ReadFile(file)
	if err != nil || bytes.Contains(content, []byte(text)) || !bytes.Contains(content, []byte(made.SHA256)) {
		t.Errorf("the file holds the token, or not its hash: %s %v", content, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	id, err := tokens.caller(text)
	if err != nil || id.Name != "ops" || id.Role != Operate {
		t.Errorf("%+v %v", id, err)
	}
	for _, wrong := range []string{"", "pst_", text + "x", text[:46], strings.ToUpper(text), made.SHA256} {
		if _, err := tokens.caller(wrong); !errors.Is(err, errToken) {
			t.Errorf("%q is taken: %v", wrong, err)
		}
	}
	if _, ok := tokens.Still(id); !ok {
		t.Error("a session of a token that holds has ended")
	}
	if _, _, err := tokens.New(clock.token("ops", View)); !errors.Is(err, ErrExists) {
		t.Errorf("a second token of the name: %v", err)
	}
	clock.t = clock.t.Add(24 * time.Hour)
	if _, err := tokens.caller(text); !errors.Is(err, errToken) {
		t.Errorf("an expired token: %v", err)
	}
	if _, ok := tokens.Still(id); ok {
		t.Error("a session outlives its token")
	}
	clock.t = clock.t.Add(-time.Hour)
	if _, err := tokens.Revoke("ops"); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.caller(text); !errors.Is(err, errToken) {
		t.Errorf("a revoked token: %v", err)
	}
	if _, _, err := tokens.New(clock.token("ops", Admin)); err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.Still(id); ok {
		t.Error("a session goes on with another token of the same name")
	}
	if _, err := tokens.Revoke("nobody"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

// TestTokensFileIsReadAgain: what an operator writes into the file holds at once, and a
// file that is damaged or that others can read lets nobody in.
func TestTokensFileIsReadAgain(t *testing.T) {
	tokens, clock, file := newTokens(t)
	text, made, err := tokens.New(clock.token("ops", View))
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := func(text string) string {
		return strings.NewReplacer("NAME", "ops", "SUM", made.SHA256).Replace(text)
	}
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		ok         bool
	}{
		{"as it was", string(good), 0o600, true},
		{"with blank lines", "\n" + string(good) + "\n\n", 0o600, true},
		{"an empty file", "", 0o600, false},
		{"readable by others", string(good), 0o644, false},
		{"a line that is no JSON behind it", string(good) + "x\n", 0o600, false},
		{"two on a line", strings.TrimSpace(string(good)) + strings.TrimSpace(string(good)) + "\n", 0o600, false},
		{"the same twice", string(good) + string(good), 0o600, false},
		{"an unknown key", strings.Replace(string(good), `{`, `{"colour":1,`, 1), 0o600, false},
		{"no expiry", line(`{"name":"NAME","role":"view","sha256":"SUM","created":"2026-11-30T12:00:00Z"}`), 0o600, false},
		{"an unknown role", line(`{"name":"NAME","role":"root","sha256":"SUM","expires":"2036-11-30T12:00:00Z"}`), 0o600, false},
		{"no role", line(`{"name":"NAME","sha256":"SUM","expires":"2036-11-30T12:00:00Z"}`), 0o600, false},
		{"an owner of nobody", line(`{"name":"NAME","role":"owner","sha256":"SUM","expires":"2036-11-30T12:00:00Z"}`), 0o600, false},
		{"a viewer with a client", line(`{"name":"NAME","role":"view","client":"a","sha256":"SUM","expires":"2036-11-30T12:00:00Z"}`), 0o600, false},
		{"a hash that is cut", line(`{"name":"NAME","role":"view","sha256":"00","expires":"2036-11-30T12:00:00Z"}`), 0o600, false},
		{"an owner", line(`{"name":"NAME","role":"owner","client":"a","sha256":"SUM","expires":"2036-11-30T12:00:00Z"}`), 0o600, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(file)
			if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			os.Chmod(file, c.mode)
			_, err := tokens.caller(text)
			if (err == nil) != c.ok {
				t.Errorf("the token is taken: %v, want %v", err == nil, c.ok)
			}
			if _, err := tokens.List(); err != nil && strings.Contains(err.Error(), made.SHA256) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
	os.Remove(file)
	if _, err := tokens.caller(text); !errors.Is(err, errToken) {
		t.Errorf("a file that is gone: %v", err)
	}
	if list, err := tokens.List(); err != nil || len(list) != 0 {
		t.Errorf("a file that is gone: %v %v", list, err)
	}
}

func TestRolesHoldOneAnother(t *testing.T) {
	for _, c := range []struct {
		role, least Role
		owned, may  bool
	}{
		{"", View, true, false}, {View, View, false, true}, {View, Operate, false, false}, {View, Admin, false, false},
		{Operate, View, false, true}, {Operate, Operate, false, true}, {Operate, Admin, false, false},
		{Admin, View, false, true}, {Admin, Admin, false, true}, {Admin, "", false, false},
		{Owner, View, false, false}, {Owner, View, true, true}, {Owner, Admin, false, false}, {"root", View, false, false},
	} {
		id := Caller{Role: c.role, Client: "a"}
		if no := id.Allow(c.least, c.owned); (no == nil) != c.may {
			t.Errorf("%q on %q, owned %v: %v", c.role, c.least, c.owned, no)
		}
	}
	if no := (Caller{Role: Owner}).Allow(View, true); no == nil {
		t.Error("an owner of no client is let in")
	}
	if id := Of(t.Context()); id != (Caller{}) {
		t.Errorf("a context of nobody has %+v", id)
	}
}

// request is one that came over a connection to an address of ours.
func request(local, remote string, field ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://relay.example/api/v1/status", nil)
	r.RemoteAddr = remote
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
	for i := 0; i+1 < len(field); i += 2 {
		r.Header.Add(field[i], field[i+1])
	}
	return r
}

func TestGateAsksEverybodyForSomething(t *testing.T) {
	tokens, clock, _ := newTokens(t)
	text, _, err := tokens.New(clock.token("ops", Operate))
	if err != nil {
		t.Fatal(err)
	}
	rules := PortRules{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, ProxySecret: "between us",
		Groups: map[string]Role{"mail-ops": Operate, "everybody": View}}
	gate := NewGate(tokens, func() PortRules { return rules }, clock.now, slog.New(slog.DiscardHandler))
	const loop, wide, near, far, proxy = "127.0.0.1:8025", "192.0.2.1:8025", "127.0.0.1:1", "198.51.100.7:1", "127.0.0.2:1"
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int // 0: let in
		id     Caller
	}{
		{"loopback is not a password", request(loop, near), 401, Caller{}},
		{"a token", request(loop, near, "Authorization", "Bearer "+text), 0, Caller{Name: "ops", Role: Operate, Door: Port, Remote: "127.0.0.1"}},
		{"in another case", request(loop, near, "Authorization", "bearer "+text), 0, Caller{Name: "ops", Role: Operate, Door: Port, Remote: "127.0.0.1"}},
		{"two fields", request(loop, near, "Authorization", "Bearer "+text, "Authorization", "Bearer "+text), 401, Caller{}},
		{"another scheme", request(loop, near, "Authorization", "Basic "+text), 401, Caller{}},
		{"a wrong token", request(loop, near, "Authorization", "Bearer pst_x"), 401, Caller{}},
		{"plain HTTP over the net", request(wide, far, "Authorization", "Bearer "+text), 403, Caller{}},
		{"the proxy without a user", request(loop, proxy, ProxySecret, "between us"), 403, Caller{}},
		{"the proxy", request(loop, proxy, ProxySecret, "between us", ForwardedUser, "pia", ForwardedGroups, "everybody, mail-ops"), 0, Caller{Name: "pia", Role: Operate, Door: Proxy, Remote: "127.0.0.2"}},
		{"the proxy with a user of no group", request(loop, proxy, ProxySecret, "between us", ForwardedUser, "pia"), 403, Caller{}},
		{"the proxy with two users", request(loop, proxy, ProxySecret, "between us", ForwardedUser, "pia", ForwardedUser, "olga", ForwardedGroups, "mail-ops"), 403, Caller{}},
		{"the proxy without its secret", request(loop, proxy, ForwardedUser, "pia", ForwardedGroups, "mail-ops"), 403, Caller{}},
		{"the proxy with another secret", request(loop, proxy, ProxySecret, "between you", ForwardedUser, "pia", ForwardedGroups, "mail-ops"), 403, Caller{}},
		{"the secret from another address", request(loop, near, ProxySecret, "between us", ForwardedUser, "pia", ForwardedGroups, "mail-ops"), 403, Caller{}},
		{"the field beside a token that holds", request(loop, near, "Authorization", "Bearer "+text, ForwardedUser, "pia"), 403, Caller{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, no := gate.Identify(c.r)
			status := 0
			if no != nil {
				status = no.Status
			}
			id.Token = ""
			if status != c.status || id != c.id {
				t.Errorf("%d %+v, want %d %+v", status, id, c.status, c.id)
			}
		})
	}
	rules.ProxyFrom = nil
	if _, no := gate.Identify(request(loop, proxy, ForwardedUser, "pia")); no == nil || no.Status != 403 {
		t.Errorf("a proxy that nobody named: %v", no)
	}
	rules.Plain = true
	if _, no := gate.Identify(request(wide, far, "Authorization", "Bearer "+text)); no != nil {
		t.Errorf("plain = true: %v", no)
	}
	rules.Plain = false
	secure := request(wide, far, "Authorization", "Bearer "+text)
	secure.TLS = &tls.ConnectionState{}
	if _, no := gate.Identify(secure); no != nil {
		t.Errorf("TLS: %v", no)
	}
	basic := request(loop, near)
	basic.SetBasicAuth("prometheus", text)
	if _, no := gate.Identify(basic); no == nil {
		t.Error("Basic is taken where a browser would send it by itself")
	}
	if id, no := gate.Basic(basic); no != nil || id.Name != "ops" {
		t.Errorf("Basic for /metrics: %v", no)
	}
}

func TestCertificateHasTheRoleOfItsName(t *testing.T) {
	rules := PortRules{Names: map[string]Role{"grafana.example.org": View}}
	gate := NewGate(NewTokens(func() string { return "" }, time.Now, nil), func() PortRules { return rules }, time.Now, slog.New(slog.DiscardHandler))
	with := func(name string, verified bool) *http.Request {
		r := request("192.0.2.1:8025", "198.51.100.7:1")
		leaf := &x509.Certificate{DNSNames: []string{name}}
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
		if verified {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{leaf}}
		}
		return r
	}
	if id, no := gate.Identify(with("grafana.example.org", true)); no != nil || id.Role != View || id.Door != Cert {
		t.Errorf("%+v %v", id, no)
	}
	for _, r := range []*http.Request{with("grafana.example.org", false), with("other.example.org", true)} {
		if id, no := gate.Identify(r); no == nil || no.Status != 401 {
			t.Errorf("let in: %+v", id)
		}
	}
}

func TestGuessesAreBounded(t *testing.T) {
	tokens, clock, _ := newTokens(t)
	text, _, err := tokens.New(clock.token("ops", View))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	gate := NewGate(tokens, func() PortRules { return PortRules{} }, clock.now, slog.New(slog.NewTextHandler(&log, nil)))
	try := func(remote, token string) int {
		_, no := gate.Identify(request("127.0.0.1:8025", remote, "Authorization", "Bearer "+token))
		if no == nil {
			return 0
		}
		if no.Status == 429 && (no.Wait <= 0 || no.Wait > guessTime) {
			t.Errorf("wait of %v", no.Wait)
		}
		return no.Status
	}
	for i := range 3 * maxGuesses {
		want := 401
		if i >= maxGuesses {
			want = 429
		}
		if got := try("127.0.0.1:1", "pst_guess"); got != want {
			t.Fatalf("guess %d: %d, want %d", i, got, want)
		}
	}
	if n := strings.Count(log.String(), "wrong token"); n != 2 || strings.Contains(log.String(), "pst_") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
	if got := try("127.0.0.1:1", text); got != 0 {
		t.Errorf("who shares the address is kept out: %d", got)
	}
	if got := try("[2001:db8::1]:1", "x"); got != 401 {
		t.Errorf("another address: %d", got)
	}
	for i := range maxGuesses {
		try("[2001:db8::"+string(rune('a'+i%6))+"]:1", "x")
	}
	if got := try("[2001:db8::ffff]:1", "x"); got != 429 {
		t.Errorf("another address of the network: %d", got)
	}
	clock.t = clock.t.Add(guessTime)
	if got := try("127.0.0.1:1", "x"); got != 401 {
		t.Errorf("after the wait: %d", got)
	}
	for i := range 2 * maxAddresses {
		gate.guesses.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(gate.guesses.from); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		ok     bool
	}{
		{"a program", nil, true},
		{"our own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://relay.example"}, true},
		{"a name that was typed", []string{"Sec-Fetch-Site", "none"}, true},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"another port or name of the site", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"two words", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{"an old browser on another site", []string{"Origin", "http://evil.example"}, false},
		{"a frame without an origin", []string{"Origin", "null"}, false},
		{"a blank origin", []string{"Origin", ""}, false},
		{"the name with a port", []string{"Origin", "http://relay.example:81"}, false},
		{"two origins", []string{"Origin", "http://relay.example", "Origin", "http://evil.example"}, false},
	} {
		if no := SameSite(request("127.0.0.1:1", "127.0.0.1:2", c.fields...)); (no == nil) != c.ok {
			t.Errorf("%s: %v", c.name, no)
		}
	}
	for kind, ok := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "": false, "text/plain": false,
		"application/x-www-form-urlencoded": false, "application/json; charset=utf-16": false, "multipart/form-data; boundary=x": false, "text/json": false,
	} {
		if no := JSONBody(request("127.0.0.1:1", "127.0.0.1:2", "Content-Type", kind)); (no == nil) != ok {
			t.Errorf("%q: %v", kind, no)
		}
	}
}

func FuzzTokensFile(f *testing.F) {
	f.Add([]byte(`{"name":"ops","role":"view","sha256":"` + strings.Repeat("0", 64) + `","created":"2026-11-30T12:00:00Z","expires":"2036-11-30T12:00:00Z"}`))
	f.Add([]byte("\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseTokens(text)
		if err != nil && len(list) > 0 {
			t.Fatal("a file with an error gives tokens")
		}
		names := map[string]bool{}
		for _, token := range list {
			if names[token.Name] || token.check() != nil || !token.Role.Holds(token.Role) || token.Expires.IsZero() {
				t.Fatalf("%+v", token)
			}
			names[token.Name] = true
		}
	})
}

// TestGuessesOfTheProxySecretAreCounted where one can be guessed: they are told in the log
// and soon refused by 429, and the right one passes all the same.
func TestGuessesOfTheProxySecretAreCounted(t *testing.T) {
	var log bytes.Buffer
	rules := PortRules{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, ProxySecret: "between us", Groups: map[string]Role{"ops": View}}
	gate := NewGate(nil, func() PortRules { return rules }, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	try := func(remote, secret string) int {
		fields := []string{ForwardedUser, "pia", ForwardedGroups, "ops"}
		if secret != "" {
			fields = append(fields, ProxySecret, secret)
		}
		if _, no := gate.Identify(request("127.0.0.1:8025", remote, fields...)); no != nil {
			return no.Status
		}
		return 0
	}
	for i := range 3 * maxGuesses {
		if got := try("127.0.0.9:1", "guess"); got != 403 {
			t.Errorf("from elsewhere: %d", got)
		}
		if got := try("127.0.0.2:1", ""); got != 403 {
			t.Errorf("without one: %d", got)
		}
		want := 403
		if i >= maxGuesses {
			want = 429
		}
		if got := try("127.0.0.2:1", "guess"); got != want {
			t.Fatalf("guess %d: %d, want %d", i, got, want)
		}
	}
	if got := try("127.0.0.2:1", "between us"); got != 0 {
		t.Errorf("the right one: %d", got)
	}
	if n := strings.Count(log.String(), "wrong proxy secret"); n != 2 || strings.Contains(log.String(), "guess ") || strings.Contains(log.String(), "between") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
}

// TestCertificateCountsWhileItIsValid on a connection that lives on behind its end.
func TestCertificateCountsWhileItIsValid(t *testing.T) {
	authority, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir, clock := t.TempDir(), &clock{time.Now()}
	c := Config{ClientCA: authority.WriteFile(t, dir)}
	c.Certificate, c.Key = authority.WritePair(t, dir, "port", smtptest.Cert{Names: []string{"mail.example.org"}})
	port, err := NewTLS(func() Config { return c }, clock.now, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.Issue(smtptest.Cert{Names: []string{"grafana.example.org"}, Client: true, NotAfter: clock.t.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	r := request("192.0.2.1:8025", "198.51.100.7:1")
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{own.Leaf}, VerifiedChains: [][]*x509.Certificate{{own.Leaf}}}
	for _, row := range []struct {
		after time.Duration
		want  int
	}{{59 * time.Minute, 1}, {2 * time.Minute, 0}} {
		clock.t = clock.t.Add(row.after)
		port.Recheck(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || len(r.TLS.VerifiedChains) != row.want {
				t.Errorf("%d chains, want %d", len(r.TLS.VerifiedChains), row.want)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	if len(r.TLS.VerifiedChains) != 1 {
		t.Error("the state of the connection was changed")
	}
}
