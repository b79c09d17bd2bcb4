package upstream

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/oauth"
	"postern/internal/smtptest"
)

// withTokens lets an upstream log in by tokens of a provider, which calls them
// token-1, token-2 and so on while it is well.
func withTokens(t *testing.T, well *atomic.Bool) (set func(*Config), asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	p := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, n)
	}))
	t.Cleanup(p.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &oauth.Config{TokenURL: p.URL, ClientID: "relay", ClientSecretFile: "x", CA: ca}
	o.Secrets("of-client", "")
	return func(c *Config) { c.Username, c.OAuth = "scans@example.org", o }, asked
}

func TestTokensLogIn(t *testing.T) {
	for _, offer := range []string{"AUTH LOGIN XOAUTH2", "AUTH OAUTHBEARER", "AUTH XOAUTH2 OAUTHBEARER PLAIN"} {
		var well atomic.Bool
		well.Store(true)
		set, asked := withTokens(t, &well)
		u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{offer}, RequireAuth: true,
			Token: func(user, token string) bool { return user == "scans@example.org" && token == "token-1" }}, set)
		for range 3 {
			if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" {
				t.Errorf("%s: %v", offer, r)
			}
		}
		if m := s.Messages(); len(m) != 3 || m[0].User != "scans@example.org" || asked.Load() != 1 {
			t.Errorf("%s: %d messages, %d questions", offer, len(m), asked.Load())
		}
	}
}

// TestTokenThatEndedEarlyIsReplacedAtOnce: no mail waits for it.
func TestTokenThatEndedEarlyIsReplacedAtOnce(t *testing.T) {
	for _, offer := range []string{"AUTH XOAUTH2", "AUTH OAUTHBEARER"} {
		var well atomic.Bool
		well.Store(true)
		set, asked := withTokens(t, &well)
		u, _ := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{offer}, RequireAuth: true,
			Token: func(_, token string) bool { return token == "token-2" }}, set)
		if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" || asked.Load() != 2 {
			t.Errorf("%s: %v after %d questions", offer, r, asked.Load())
		}
	}
}

// TestRefusedTokensAreNotTriedWithEveryMail, and no error shows one.
func TestRefusedTokensAreNotTriedWithEveryMail(t *testing.T) {
	var well atomic.Bool
	well.Store(true)
	set, asked := withTokens(t, &well)
	u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{"AUTH XOAUTH2"}, RequireAuth: true,
		Token: func(string, string) bool { return false }}, set)
	for range 5 {
		r := deliver(t, u, "b@b.example")
		if !errors.Is(r.err, errLogin) || strings.Contains(r.err.Error(), "token-") {
			t.Errorf("error %v", r.err)
		}
	}
	if s.Accepted() != 1 || asked.Load() != 2 {
		t.Errorf("%d connections, %d questions", s.Accepted(), asked.Load())
	}
}

// TestProviderWithoutTokensIsAFault: the mail waits, and goes when it is well.
func TestProviderWithoutTokensIsAFault(t *testing.T) {
	var well atomic.Bool
	set, _ := withTokens(t, &well)
	u, _ := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{"AUTH XOAUTH2"}, RequireAuth: true,
		Token: func(string, string) bool { return true }}, set)
	r := deliver(t, u, "b@b.example")
	if !errors.Is(r.err, ErrToken) || errors.Is(r.err, ErrUnknownOutcome) || errors.Is(r.err, ErrCredentials) {
		t.Errorf("error %v", r.err)
	}
	if r := deliver(t, u, "b@b.example"); !errors.Is(r.err, ErrToken) {
		t.Errorf("within the wait: %v", r.err)
	}
}

func TestConfigOfTokens(t *testing.T) {
	o := &oauth.Config{TokenURL: "https://login.example/token", ClientID: "a", ClientSecretFile: "f"}
	for _, row := range []struct {
		set  func(*Config)
		want string
	}{
		{func(c *Config) { c.OAuth, c.Username, c.TLS = o, "a", EncryptVerified }, ""},
		{func(c *Config) { c.OAuth, c.TLS = o, EncryptVerified }, "username"},
		{func(c *Config) { c.OAuth, c.Username, c.Password, c.TLS = o, "a", "p", EncryptVerified }, "password"},
		{func(c *Config) { c.OAuth, c.Username, c.TLS = o, "a", EncryptOff }, "tls"},
	} {
		c := testConfig("localhost:25")
		row.set(&c)
		var got []string
		c.Check(func(key, _ string) { got = append(got, key) })
		if strings.Join(got, " ") != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
