package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a token endpoint that counts what it is asked.
type provider struct {
	*httptest.Server
	asked  atomic.Int32
	mu     sync.Mutex
	answer func(n int32, r *http.Request) (status int, body string)
	delay  time.Duration
}

func start(t *testing.T, answer func(n int32, r *http.Request) (int, string)) *provider {
	t.Helper()
	p := &provider{answer: answer}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.asked.Add(1)
		r.ParseForm()
		time.Sleep(p.delay)
		p.mu.Lock()
		status, body := p.answer(n, r)
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusFound {
			w.Header().Set("Location", "https://127.0.0.1:1/steal")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) config(t *testing.T) Config {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{TokenURL: p.URL + "/token", ClientID: "relay", ClientSecretFile: "x", CA: ca, Scope: "a b"}
	c.Secrets("s3cr3t-of-client", "")
	return c
}

// clock is a time that a test sets.
type clock struct{ at atomic.Int64 }

func newClock() *clock                   { c := &clock{}; c.at.Store(1_700_000_000); return c }
func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func source(t *testing.T, cfg Config, file string, now func() time.Time) *Source {
	t.Helper()
	s, err := New(cfg, Options{File: file, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func token(n int32, more string) string {
	return fmt.Sprintf(`{"access_token":"access-%d","token_type":"Bearer"%s}`, n, more)
}

func want(t *testing.T, s *Source, text string) {
	t.Helper()
	if got, err := s.Token(t.Context()); err != nil || got != text {
		t.Errorf("token %q, %v, want %q", got, err, text)
	}
}

func TestClientCredentialsAreAskedForOnceByMany(t *testing.T) {
	p := start(t, func(n int32, r *http.Request) (int, string) {
		if r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "a b" {
			return 400, `{"error":"invalid_request"}`
		}
		return 200, token(n, `,"expires_in":3600`)
	})
	p.delay = 50 * time.Millisecond
	s := source(t, p.config(t), "", nil)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() { want(t, s, "access-1") })
	}
	wait.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestTokenIsRenewedBeforeItsEndAndAfterARefusal(t *testing.T) {
	p := start(t, func(n int32, r *http.Request) (int, string) { return 200, token(n, "") })
	c := newClock()
	s := source(t, p.config(t), "", c.now)
	want(t, s, "access-1") // its life is not named: ten minutes
	c.advance(unnamedLife - slack - time.Second)
	s.renewIfDue()
	for p.asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	for {
		if got, err := s.Token(t.Context()); err != nil || got == "access-2" {
			break
		}
	}
	s.Refused("access-1") // an old one: nothing to do
	want(t, s, "access-2")
	s.Refused("access-2")
	want(t, s, "access-3")
}

func TestFailedQuestionsWaitLongerEachTimeAndShowNoSecret(t *testing.T) {
	p := start(t, func(n int32, r *http.Request) (int, string) {
		return 401, `{"error":"invalid_client","error_description":"bad secret s3cr3t-of-client"}`
	})
	c := newClock()
	s := source(t, p.config(t), "", c.now)
	_, err := s.Token(t.Context())
	if !errors.Is(err, ErrToken) || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "401") {
		t.Errorf("error %v", err)
	}
	before := p.asked.Load()
	for range 10 {
		if _, err := s.Token(t.Context()); !errors.Is(err, ErrToken) {
			t.Errorf("error %v", err)
		}
	}
	if n := p.asked.Load(); n != before {
		t.Errorf("asked %d times more within the wait", n-before)
	}
	for range 12 {
		c.advance(longestWait + time.Second)
		s.Token(t.Context())
	}
	if s.wait != longestWait {
		t.Errorf("wait %v", s.wait)
	}
	p.mu.Lock()
	p.answer = func(n int32, r *http.Request) (int, string) { return 200, token(7, `,"expires_in":60`) }
	p.mu.Unlock()
	c.advance(longestWait + time.Second)
	want(t, s, "access-7")
}

// TestWhatProvidersRepeatIsNotTold: a provider, or what stands in its place, that says what
// it was sent, as a web form or Basic has it, or in the first line of its answer.
func TestWhatProvidersRepeatIsNotTold(t *testing.T) {
	const secret = `s3/cr"et+of client`
	basic := base64.StdEncoding.EncodeToString([]byte("relay:" + url.QueryEscape(secret)))
	quoted, _ := json.Marshal(secret)
	for _, said := range []string{string(quoted), `"` + url.QueryEscape(secret) + `"`, `"Basic ` + basic + `"`} {
		p := start(t, func(int32, *http.Request) (int, string) {
			return 401, `{"error":"invalid_client","error_description":` + said + `}`
		})
		cfg := p.config(t)
		cfg.Secrets(secret, "")
		_, err := source(t, cfg, "", newClock().now).Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), "left out") {
			t.Errorf("%s: %v", said, err)
		}
	}
	for _, line := range []string{basic, "HTTP/1.1 401 " + basic + "\r\nContent-Length: 0\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + basic + "\r\n"} {
		p := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "%s\r\n", line)
		}))
		cfg := (&provider{Server: p}).config(t)
		cfg.Secrets(secret, "")
		_, err := source(t, cfg, "", newClock().now).Token(t.Context())
		p.Close()
		if err == nil || strings.Contains(err.Error(), basic) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"blank":        `{"access_token":"","token_type":"Bearer"}`,
		"line end":     `{"access_token":"a\r\nMAIL FROM:<x@x.example>","token_type":"Bearer"}`,
		"too long":     `{"access_token":"` + strings.Repeat("a", maxToken+1) + `","token_type":"Bearer"}`,
		"another type": `{"access_token":"a","token_type":"mac"}`,
		"no JSON":      `<html>`,
	} {
		p := start(t, func(int32, *http.Request) (int, string) { return 200, body })
		if got, err := source(t, p.config(t), "", nil).Token(t.Context()); !errors.Is(err, ErrToken) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	p := start(t, func(int32, *http.Request) (int, string) { return http.StatusFound, "" })
	if _, err := source(t, p.config(t), "", nil).Token(t.Context()); !errors.Is(err, ErrToken) {
		t.Errorf("redirect: %v", err)
	}
}

// TestTokensThatEndAtOnceAreNotAskedForWithoutEnd: a provider that gives nothing else is
// asked as seldom as one that fails.
func TestTokensThatEndAtOnceAreNotAskedForWithoutEnd(t *testing.T) {
	for _, life := range []string{"1", "10", "-1"} {
		p := start(t, func(n int32, _ *http.Request) (int, string) { return 200, token(n, `,"expires_in":`+life) })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := source(t, p.config(t), "", time.Now).Token(ctx)
		cancel()
		if n := p.asked.Load(); !errors.Is(err, ErrToken) || n != 1 {
			t.Errorf("%s: %v, asked %d times", life, err, n)
		}
	}
}

func TestRefreshTokenIsKeptAndReplaced(t *testing.T) {
	var seen []string
	p := start(t, func(n int32, r *http.Request) (int, string) {
		seen = append(seen, r.Form.Get("refresh_token"))
		return 200, token(n, fmt.Sprintf(`,"expires_in":3600,"refresh_token":"refresh-%d"`, n))
	})
	cfg := p.config(t)
	cfg.RefreshTokenFile = "x"
	cfg.Secrets("s3cr3t-of-client", "refresh-0")
	file := filepath.Join(t.TempDir(), "oauth.json")
	s := source(t, cfg, file, nil)
	want(t, s, "access-1")
	s.Refused("access-1")
	want(t, s, "access-2")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info, err)
	}
	again := source(t, cfg, file, nil)
	want(t, again, "access-2") // without a question
	again.Refused("access-2")
	want(t, again, "access-3")
	if got := strings.Join(seen, " "); got != "refresh-0 refresh-1 refresh-2" {
		t.Errorf("refresh tokens %s", got)
	}
	other := cfg
	other.ClientID = "another"
	want(t, source(t, other, file, nil), "access-4") // what is kept is for another registration
}

func TestLoginKeepsTheTokenOfTheMailbox(t *testing.T) {
	p := start(t, func(n int32, r *http.Request) (int, string) {
		switch {
		case r.URL.Path == "/device":
			return 200, `{"device_code":"dev","user_code":"AB-CD","verification_uri":"https://login.example/device","interval":1,"expires_in":60}`
		case r.Form.Get("grant_type") == "refresh_token" && r.Form.Get("refresh_token") == "of-anna":
			return 200, token(n, `,"expires_in":3600`)
		case n < 3:
			return 400, `{"error":"authorization_pending"}`
		}
		return 200, token(n, `,"expires_in":3600,"refresh_token":"of-anna"`)
	})
	cfg := p.config(t)
	cfg.DeviceURL, cfg.ClientSecretFile = p.URL+"/device", ""
	cfg.Secrets("", "")
	file := filepath.Join(t.TempDir(), "oauth.json")
	running := source(t, cfg, file, nil)
	if _, err := running.Token(t.Context()); !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), "relay oauth login") {
		t.Errorf("before the login: %v", err)
	}
	var shown string
	err := Login(t.Context(), cfg, file, func(address, code string) { shown = address + " " + code })
	if err != nil || shown != "https://login.example/device AB-CD" {
		t.Fatalf("%v, shown %q", err, shown)
	}
	running.mu.Lock()
	running.until = time.Time{}
	running.mu.Unlock()
	if got, err := running.Token(t.Context()); err != nil || !strings.HasPrefix(got, "access-") {
		t.Errorf("after the login: %q, %v", got, err)
	}
}

func TestTokenEndsWithItsContextAndItsSource(t *testing.T) {
	held := make(chan struct{})
	p := start(t, func(int32, *http.Request) (int, string) { <-held; return 500, "" })
	s := source(t, p.config(t), "", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	s.Close()
	close(held)
	if _, err := s.Token(t.Context()); !errors.Is(err, ErrToken) {
		t.Errorf("after Close: %v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{TokenURL: "https://login.example/token", ClientID: "a", ClientSecretFile: "f"}, ""},
		{Config{TokenURL: "https://login.example/token", ClientID: "a", DeviceURL: "https://login.example/device"}, ""},
		{Config{}, "token_url client_id client_secret_file"},
		{Config{TokenURL: "http://login.example/token", ClientID: "a", ClientSecretFile: "f"}, "token_url"},
		{Config{TokenURL: "https://user:pass@login.example/", ClientID: "a", ClientSecretFile: "f"}, "token_url"},
		{Config{TokenURL: "login.example", ClientID: "a", RefreshTokenFile: "f", DeviceURL: "http://login.example"}, "token_url device_url"},
	} {
		var got []string
		row.cfg.Check(func(key, _ string) { got = append(got, key) })
		if strings.Join(got, " ") != row.want {
			t.Errorf("%+v: %q, want %q", row.cfg, got, row.want)
		}
	}
}

func TestResponses(t *testing.T) {
	if got := Bearer("a=b,c@example.org", "smtp.example", 587, "t"); got != "n,a=a=3Db=2Cc@example.org,\x01host=smtp.example\x01port=587\x01auth=Bearer t\x01\x01" {
		t.Errorf("%q", got)
	}
	if got := XOAUTH2("a@example.org", "t"); got != "user=a@example.org\x01auth=Bearer t\x01\x01" {
		t.Errorf("%q", got)
	}
}
