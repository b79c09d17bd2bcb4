package upstream

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

func TestTLSPolicies(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	trusted := ca.WriteFile(t, t.TempDir())
	serverTLS := func(c smtptest.Cert) *tls.Config {
		cert, err := ca.Issue(c)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	good := serverTLS(smtptest.Cert{Names: []string{"127.0.0.1"}})
	named := serverTLS(smtptest.Cert{Names: []string{"smtp.example"}})
	expired := serverTLS(smtptest.Cert{Names: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Minute)})
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	startTLS := []string{"STARTTLS", "PIPELINING"}
	type fault = smtptest.Fault
	refused := fault{Stage: smtptest.StartTLS, Reply: "454 4.7.0 not now"}
	broken := fault{Stage: smtptest.Handshake, Drop: smtptest.DropBefore}

	for name, tc := range map[string]struct {
		policy TLSPolicy
		offer  []string
		server *tls.Config
		faults []fault
		ca     bool
		name   string
		want   string // version, "plain" or "fault"
	}{
		"off does not use it":                        {EncryptOff, startTLS, good, nil, false, "", "plain"},
		"opportunistic uses it, certificate unknown": {EncryptOpportunistic, startTLS, expired, nil, false, "", "TLSv1.3"},
		"opportunistic without STARTTLS":             {EncryptOpportunistic, []string{}, nil, nil, false, "", "plain"},
		"opportunistic, STARTTLS refused":            {EncryptOpportunistic, startTLS, good, []fault{refused}, false, "", "plain"},
		"opportunistic, handshake fails":             {EncryptOpportunistic, startTLS, good, []fault{broken}, false, "", "plain"},
		"required, certificate unknown":              {EncryptRequired, startTLS, expired, nil, false, "", "TLSv1.3"},
		"required without STARTTLS":                  {EncryptRequired, []string{}, nil, nil, false, "", "fault"},
		"required, STARTTLS refused":                 {EncryptRequired, startTLS, good, []fault{refused}, false, "", "fault"},
		"required, handshake fails":                  {EncryptRequired, startTLS, good, []fault{broken}, false, "", "fault"},
		"required, TLS too old":                      {EncryptRequired, startTLS, old, nil, false, "", "fault"},
		"verified":                                   {EncryptVerified, startTLS, good, nil, true, "", "TLSv1.3"},
		"verified for another name, as configured":   {EncryptVerified, startTLS, named, nil, true, "smtp.example", "TLSv1.3"},
		"verified, wrong name":                       {EncryptVerified, startTLS, named, nil, true, "", "fault"},
		"verified, wrong configured name":            {EncryptVerified, startTLS, good, nil, true, "smtp.example", "fault"},
		"verified, unknown authority":                {EncryptVerified, startTLS, good, nil, false, "", "fault"},
		"verified, expired":                          {EncryptVerified, startTLS, expired, nil, true, "", "fault"},
		"verified without STARTTLS":                  {EncryptVerified, []string{}, nil, nil, true, "", "fault"},
		"verified, STARTTLS refused":                 {EncryptVerified, startTLS, good, []fault{refused}, true, "", "fault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, s := start(t, smtptest.Options{Offer: tc.offer, TLS: tc.server, Faults: tc.faults}, func(c *Config) {
				c.TLS, c.ServerName = tc.policy, tc.name
				if tc.ca {
					c.CA = trusted
				}
			})
			tx := u.Begin(Route{}, &mail.Envelope{})
			defer tx.Close()
			_, err := tx.Recipients(t.Context(), recipients("b@b.example"), nil)
			if (err != nil) != (tc.want == "fault") {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if r, err := tx.Send(t.Context(), Content{Prefix: []byte(plainText)}); err != nil || r.Code != 250 {
				t.Fatalf("got %v, %v", r, err)
			}
			got := tx.TLS()
			if (s.Messages()[0].TLS == nil) != (got == "") {
				t.Errorf("we say %q, the server saw %v", got, s.Messages()[0].TLS)
			}
			if got == "" {
				got = "plain"
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			for _, c := range s.Commands() {
				if strings.Contains(c, "EHLO") && !strings.HasSuffix(c, " EHLO relay.example") {
					t.Errorf("server saw %q", c)
				}
			}
		})
	}
}

func startVerified(t *testing.T, opt smtptest.Options, set func(*Config)) (*Upstream, *smtptest.Server) {
	t.Helper()
	s := smtptest.Start(t, opt)
	cfg := testConfig(s.Addr())
	cfg.TLS, cfg.CA = EncryptVerified, s.CA().WriteFile(t, t.TempDir())
	if set != nil {
		set(&cfg)
	}
	return newUpstream(t, cfg), s
}

func TestImplicitTLS(t *testing.T) {
	u, s := startVerified(t, smtptest.Options{ImplicitTLS: true}, func(c *Config) { c.ImplicitTLS = true })
	if r := deliver(t, u, "b@b.example"); r.codes() != "250 final 250" || s.Messages()[0].TLS == nil {
		t.Errorf("got %v", r)
	}
	if cs := s.Commands(); cs[0] != "1 EHLO relay.example" || strings.HasPrefix(cs[1], "1 EHLO") {
		t.Errorf("commands %q", cs)
	}
}

func TestSTARTTLSInjectionIsAFault(t *testing.T) {
	inject := smtptest.Fault{Stage: smtptest.StartTLS, Raw: "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"}
	for _, policy := range []TLSPolicy{EncryptVerified, EncryptRequired, EncryptOpportunistic} {
		u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, Faults: []smtptest.Fault{inject}}, func(c *Config) { c.TLS = policy })
		if r := deliver(t, u, "b@b.example"); r.err == nil || s.Taken() != 0 {
			t.Errorf("%s: got %v", policy, r)
		}
	}
}

func TestCapabilitiesInPlainTextDoNotCount(t *testing.T) {
	u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS", "SIZE 1", "DSN", "PIPELINING", "CHUNKING"}, TLSOffer: []string{}}, nil)
	r := send(t.Context(), u, Route{}, mail.Envelope{Size: 100}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
	if r.codes() != "250 final 250" || u.OffersDSN() {
		t.Errorf("got %v, DSN %v", r, u.OffersDSN())
	}
	if cs := s.Commands(); !slices.Contains(cs, "1 MAIL FROM:<>") || !slices.Contains(cs, "1 DATA") {
		t.Errorf("commands %q", cs)
	}
}

func TestTLSSessionsAreResumed(t *testing.T) {
	u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}}, func(c *Config) { c.MessagesPerConnection = 1 })
	for range 2 {
		if r := deliver(t, u, "b@b.example"); r.err != nil {
			t.Fatal(r)
		}
	}
	if ms := s.Messages(); ms[0].TLS.DidResume || !ms[1].TLS.DidResume {
		t.Error("second connection did not resume")
	}
}

func TestREQUIRETLSNeedsAVerifiedUpstreamThatOffersIt(t *testing.T) {
	for name, tc := range map[string]struct {
		offer  []string
		policy TLSPolicy
		codes  string
	}{
		"verified and offered":     {[]string{"REQUIRETLS"}, EncryptVerified, "250 final 250"},
		"verified and not offered": {[]string{}, EncryptVerified, "550"},
		"not verified":             {[]string{"REQUIRETLS"}, EncryptRequired, "550"},
	} {
		u, s := startVerified(t, smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: tc.offer}, func(c *Config) { c.TLS = tc.policy })
		r := send(t.Context(), u, Route{}, mail.Envelope{RequireTLS: true}, Content{}, recipients("b@b.example")...)
		if r.codes() != tc.codes || r.to[0].Code == 550 && r.to[0].Status != "5.7.30" {
			t.Errorf("%s: got %v", name, r)
		}
		if tc.codes != "550" && !slices.Contains(s.Commands(), "1 MAIL FROM:<> REQUIRETLS") {
			t.Errorf("%s: commands %q", name, s.Commands())
		}
	}
}

// credentials are what may show in no error.
const (
	authUser   = "relay"
	authSecret = "s3cret pässword"
)

func withCredentials(c *Config) { c.Username, c.Password = authUser, authSecret }

func TestAUTH(t *testing.T) {
	type fault = smtptest.Fault
	echo := "535 5.7.8 AUTH PLAIN " + b64("\x00"+authUser+"\x00"+authSecret) + " " + authSecret + " " + b64(authSecret)
	for name, tc := range map[string]struct {
		offer  []string // under TLS
		faults []fault
		ok     bool
		mech   string
	}{
		"PLAIN":               {[]string{"AUTH PLAIN LOGIN"}, nil, true, "PLAIN"},
		"LOGIN":               {[]string{"AUTH CRAM-MD5 LOGIN"}, nil, true, "LOGIN"},
		"in the old form":     {[]string{"AUTH LOGIN", "AUTH=LOGIN"}, nil, true, "LOGIN"},
		"nothing we can do":   {[]string{"AUTH CRAM-MD5 XOAUTH2"}, nil, false, ""},
		"nothing offered":     {[]string{}, nil, false, ""},
		"refused":             {[]string{"AUTH PLAIN"}, []fault{{Stage: smtptest.Auth, Reply: echo}}, false, "PLAIN"},
		"refused for now":     {[]string{"AUTH PLAIN"}, []fault{{Stage: smtptest.Auth, Reply: "454 4.7.0 " + authSecret}}, false, "PLAIN"},
		"asked again":         {[]string{"AUTH PLAIN"}, []fault{{Stage: smtptest.Auth, Reply: "334 " + b64(authSecret)}}, false, "PLAIN"},
		"no reply":            {[]string{"AUTH PLAIN"}, []fault{{Stage: smtptest.Auth, Raw: b64(authSecret) + "\r\n"}}, false, "PLAIN"},
		"LOGIN refused early": {[]string{"AUTH LOGIN"}, []fault{{Stage: smtptest.Auth, Reply: "535 5.7.8 " + authUser}}, false, "LOGIN"},
		"LOGIN refused late":  {[]string{"AUTH LOGIN"}, []fault{{Stage: smtptest.Auth, After: 2, Reply: echo}}, false, "LOGIN"},
		"dropped":             {[]string{"AUTH LOGIN"}, []fault{{Stage: smtptest.Auth, After: 1, Drop: smtptest.DropBefore}}, false, "LOGIN"},
	} {
		t.Run(name, func(t *testing.T) {
			opt := smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: tc.offer, Users: map[string]string{authUser: authSecret}, RequireAuth: true, Faults: tc.faults}
			u, s := startVerified(t, opt, withCredentials)
			r := deliver(t, u, "b@b.example")
			if (r.err == nil) != tc.ok {
				t.Errorf("got %v", r)
			}
			if tc.ok && s.Messages()[0].User != authUser {
				t.Errorf("user %q", s.Messages()[0].User)
			}
			used := ""
			for _, c := range s.Commands() {
				if strings.HasPrefix(c, "1 AUTH ") {
					used = c[7:]
				}
			}
			if used != tc.mech {
				t.Errorf("used %q, want %q", used, tc.mech)
			}
			if r.err != nil {
				secrets(t, r.err)
			}
		})
	}
}

func secrets(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{authSecret, "s3cret", b64(authSecret), base64.RawStdEncoding.EncodeToString([]byte(authSecret)), b64("\x00" + authUser + "\x00" + authSecret)[:20]} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error %q shows %q", err, s)
		}
	}
}

func TestRefusedCredentialsAreNotTriedWithEveryMail(t *testing.T) {
	opt := smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{"AUTH PLAIN"}, Users: map[string]string{authUser: "other"}}
	u, s := startVerified(t, opt, withCredentials)
	for range 5 {
		if r := deliver(t, u, "b@b.example"); !errors.Is(r.err, errLogin) {
			t.Errorf("got %v", r)
		} else {
			secrets(t, r.err)
		}
	}
	if s.Accepted() != 1 {
		t.Errorf("%d attempts", s.Accepted())
	}
}

// The operator reads what the provider says of our credentials, and that it is
// they that are refused.
func TestRefusedCredentialsAreNamedWithTheReply(t *testing.T) {
	for reply, want := range map[string]string{
		"535 5.7.8 Username and token not accepted": "credentials refused for good: \"535 5.7.8 Username and token not accepted\"",
		"534 5.7.9 application key needed":          "credentials refused for good: \"534 5.7.9 application key needed\"",
		"454 4.7.0 authentication away":             "credentials refused: \"454 4.7.0 authentication away\"",
		"535 5.7.8 no \x1b[2J":                      "credentials refused for good: \"535 5.7.8 no ?[2J\"",
		"535 5.7.8 PÄSSWORD":                        "credentials refused for good: \"535 5.7.8 (text left out: it repeats what was sent)\"",
		"421 4.3.2 closing":                         "host replied 421",
	} {
		opt := smtptest.Options{Offer: []string{"STARTTLS"}, TLSOffer: []string{"AUTH PLAIN"}, Users: map[string]string{authUser: authSecret},
			Faults: []smtptest.Fault{{Stage: smtptest.Auth, Reply: reply}}}
		u, _ := startVerified(t, opt, withCredentials)
		r := deliver(t, u, "b@b.example")
		if r.err == nil || !strings.Contains(r.err.Error(), want) || errors.Is(r.err, ErrCredentials) != !strings.HasPrefix(reply, "421") {
			t.Errorf("%s: %v, want %s", reply, r.err, want)
		}
		secrets(t, r.err)
	}
}

func TestCredentialsNeverTravelInPlainText(t *testing.T) {
	// Check refuses this configuration; New with it must not send the password either.
	u, s := start(t, smtptest.Options{Offer: []string{"AUTH PLAIN LOGIN"}, Users: map[string]string{authUser: authSecret}}, withCredentials)
	if r := deliver(t, u, "b@b.example"); r.err == nil {
		t.Errorf("got %v", r)
	}
	for _, c := range s.Commands() {
		if strings.Contains(c, "AUTH") {
			t.Errorf("server saw %q", c)
		}
	}
}

func TestHELOWhereNothingMoreIsAsked(t *testing.T) {
	f := smtptest.Fault{Stage: smtptest.Hello, Times: 1, Reply: "502 5.5.1 what?"}
	for policy, ok := range map[TLSPolicy]bool{EncryptOff: true, EncryptOpportunistic: true, EncryptVerified: false} {
		u, s := start(t, smtptest.Options{Faults: []smtptest.Fault{f}}, func(c *Config) { c.TLS = policy })
		if r := deliver(t, u, "b@b.example"); (r.err == nil) != ok || ok != slices.Contains(s.Commands(), "1 HELO relay.example") {
			t.Errorf("%s: got %v, commands %q", policy, r, s.Commands())
		}
	}
}
