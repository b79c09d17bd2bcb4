package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"postern/internal/httpfault"
	"postern/internal/statefile"
)

// ErrToken: the provider gave no token. It is a fault: mail waits.
var ErrToken = errors.New("no access token")

const (
	askTimeout = 30 * time.Second // of one question to the endpoint
	firstWait  = 5 * time.Second  // after a failed question; it doubles up to longestWait
	// longestWait bounds how long mail waits after the provider is well again.
	longestWait = 5 * time.Minute
	slack       = 10 * time.Second // before its end a token is no longer used
	// unnamedLife is how long a token counts whose end the provider does not name.
	unnamedLife = 10 * time.Minute
	maxState    = 256 << 10 // octets of the state file
	maxToken    = 32 << 10
)

// Options are what a Source takes from its surroundings.
type Options struct {
	File string           // where tokens are kept, mode 0600; "": in memory only
	Log  *slog.Logger     // nil: nobody is told
	Now  func() time.Time // nil: time.Now
}

// Source gives access tokens and renews them before they end. It is safe for
// concurrent use; one question to the provider is under way at a time.
type Source struct {
	cfg    Config
	opt    Options
	file   *statefile.File // nil: none
	http   *http.Client
	own    clientcredentials.Config
	person oauth2.Config

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	kept  kept
	busy  chan struct{} // closed when the question under way ends; nil: none is
	err   error         // of the last question
	until time.Time     // no question before that
	wait  time.Duration
}

// kept is what is known of tokens, as it stands in the state file.
type kept struct {
	For     string    `json:"for"` // what they are for: see Source.key
	Access  string    `json:"access_token"`
	Got     time.Time `json:"got"`
	Expiry  time.Time `json:"expiry"`
	Refresh string    `json:"refresh_token,omitempty"`
}

// New makes a source. It reads the file of authorities and the kept tokens and
// asks nobody; Close ends it.
func New(cfg Config, opt Options) (*Source, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca of oauth: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read ca of oauth: %s holds no PEM certificate", cfg.CA)
		}
	}
	s := &Source{cfg: cfg, opt: opt, http: &http.Client{Transport: transport, CheckRedirect: noRedirect}}
	scopes := strings.Fields(cfg.Scope)
	s.own = clientcredentials.Config{ClientID: cfg.ClientID, ClientSecret: cfg.secret, TokenURL: cfg.TokenURL, Scopes: scopes}
	s.person = oauth2.Config{ClientID: cfg.ClientID, ClientSecret: cfg.secret, Scopes: scopes,
		Endpoint: oauth2.Endpoint{TokenURL: cfg.TokenURL, DeviceAuthURL: cfg.DeviceURL}}
	if opt.File != "" {
		s.file = statefile.New(opt.File, maxState)
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.read()
	s.work.Go(s.keep)
	return s, nil
}

// noRedirect keeps secrets from going where the provider points.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close ends renewing.
func (s *Source) Close() {
	s.end()
	s.work.Wait()
}

// Token is an access token that is good for some seconds at least. It asks the
// provider where none is at hand. The error is ErrToken, or that of ctx.
func (s *Source) Token(ctx context.Context) (string, error) {
	for {
		token, busy, err := s.now()
		if busy == nil {
			return token, err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// now is the token at hand; else busy ends with the question under way.
func (s *Source) now() (token string, busy <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	switch {
	case s.kept.Access != "" && now.Before(s.kept.Expiry.Add(-slack)):
		return s.kept.Access, nil, nil
	case s.life.Err() != nil:
		return "", nil, fmt.Errorf("%w: the relay is stopping", ErrToken)
	case s.busy == nil && now.Before(s.until):
		return "", nil, fmt.Errorf("%w, not asked again before %s: %w", ErrToken, s.until.Format(time.TimeOnly), s.err)
	}
	s.askLocked()
	return "", s.busy, nil
}

// Refused says that a host did not take a token, although it has not ended: the
// next call of Token asks for another.
func (s *Source) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept.Access == token {
		s.kept.Access = ""
	}
}

func (s *Source) askLocked() {
	if s.busy == nil {
		s.busy = make(chan struct{})
		s.work.Go(s.renew)
	}
}

// renew asks the provider once. Those who want a token wait for no disk.
func (s *Source) renew() {
	ctx, cancel := context.WithTimeout(s.life, askTimeout)
	defer cancel()
	t, err := s.ask(ctx)
	tell, keep := s.asked(t, err)
	tell()
	if keep != nil {
		if err := s.write(keep); err != nil {
			s.opt.Log.Error("access token cannot be kept", "file", s.opt.File, "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.busy)
	s.busy = nil
}

// asked takes the answer to a question: tell says what is to be logged, and keep
// is what is to be written, nil for nothing.
func (s *Source) asked(t *oauth2.Token, err error) (tell func(), keep *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.opt.Log.With("token_url", s.cfg.TokenURL, "client_id", s.cfg.ClientID)
	if err != nil {
		s.wait = min(max(2*s.wait, firstWait), longestWait)
		s.err, s.until = err, s.opt.Now().Add(s.wait)
		wait, stopping := s.wait, s.life.Err() != nil
		return func() {
			if !stopping {
				log.Error("no access token from the provider of an upstream", "again_in", wait.String(), "err", err)
			}
		}, nil
	}
	again := s.err != nil
	s.err, s.wait, s.until = nil, 0, time.Time{}
	return func() {
		if again {
			log.Info("access token from the provider of an upstream again")
		}
	}, s.takeLocked(t)
}

// takeLocked takes a token and returns what is to be written.
func (s *Source) takeLocked(t *oauth2.Token) *kept {
	now := s.opt.Now()
	s.kept.For, s.kept.Access, s.kept.Got, s.kept.Expiry = s.key(), t.AccessToken, now, t.Expiry
	if t.Expiry.IsZero() {
		s.kept.Expiry = now.Add(unnamedLife)
	}
	if t.RefreshToken != "" {
		s.kept.Refresh = t.RefreshToken
	}
	k := s.kept
	return &k
}

// ask gets a token. Its errors hold nothing of a secret.
func (s *Source) ask(ctx context.Context) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.http)
	var t *oauth2.Token
	var err error
	secrets := s.cfg.sent()
	if s.cfg.mailbox() {
		refresh := s.refreshToken()
		if refresh == "" {
			return nil, errors.New("there is no refresh token yet; get one by: relay oauth login")
		}
		secrets = append(secrets, refresh)
		t, err = s.person.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	} else {
		t, err = s.own.Token(ctx)
	}
	switch {
	case err != nil:
		return nil, plainError(err, secrets)
	case t.AccessToken == "" || len(t.AccessToken) > maxToken || strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, errors.New("the provider's access token is not one: blank, too long, or with octets that RFC 6750 does not allow")
	case !t.Expiry.IsZero() && time.Until(t.Expiry) <= slack: // else the next one would be asked for at once, over and over
		return nil, fmt.Errorf("the provider's access token ends within %s, too soon to be used", slack)
	case t.TokenType != "" && !strings.EqualFold(t.TokenType, "bearer"):
		return nil, fmt.Errorf("the provider's token is of type %.40q, not Bearer", t.TokenType)
	}
	return t, nil
}

// refreshToken is the newest one: that of the state file, which "relay oauth
// login" may have written meanwhile, else the first one.
func (s *Source) refreshToken() string {
	s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept.Refresh != "" {
		return s.kept.Refresh
	}
	return s.cfg.refresh
}

// plainError is what went wrong in words without secrets: providers quote what
// they were sent.
func plainError(err error, secrets []string) error {
	var r *oauth2.RetrieveError
	if !errors.As(err, &r) {
		if err = httpfault.Plain(err); repeats(err.Error(), secrets) {
			return errors.New("asking the provider failed (text left out: it repeats a secret)")
		}
		return err
	}
	status := fmt.Sprintf("the provider replied %d %s", r.Response.StatusCode, http.StatusText(r.Response.StatusCode))
	if repeats(r.ErrorCode, secrets) || repeats(r.ErrorDescription, secrets) {
		return errors.New(status + " (text left out: it repeats a secret)")
	}
	if r.ErrorCode != "" {
		status += fmt.Sprintf(", %.60q", r.ErrorCode)
	}
	if r.ErrorDescription != "" {
		status += fmt.Sprintf(": %.300q", r.ErrorDescription)
	}
	return errors.New(status)
}

// sent are the forms in which the client's secret goes to the provider, beside that of a
// web form.
func (c *Config) sent() []string {
	if c.secret == "" {
		return nil
	}
	basic := url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.secret) // RFC 6749 s. 2.3.1
	return []string{c.secret, base64.StdEncoding.EncodeToString([]byte(basic))}
}

// repeats reports whether a secret stands in text, as it is or as a web form has it.
func repeats(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool {
		return s != "" && (strings.Contains(text, s) || strings.Contains(text, url.QueryEscape(s)))
	})
}

// keep renews the token before it ends, so that no mail waits for it.
func (s *Source) keep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
			s.renewIfDue()
		}
	}
}

func (s *Source) renewIfDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	life := s.kept.Expiry.Sub(s.kept.Got)
	due := s.kept.Expiry.Add(-min(5*time.Minute, life/4))
	if s.kept.Access != "" && !now.Before(due) && !now.Before(s.until) && s.life.Err() == nil {
		s.askLocked()
	}
}

// key tells tokens of one registration from those of another.
func (s *Source) key() string {
	sum := sha256.Sum256([]byte(s.cfg.TokenURL + "\n" + s.cfg.ClientID + "\n" + s.cfg.Scope + "\n" + s.cfg.refresh))
	return hex.EncodeToString(sum[:16])
}

// read takes what the state file holds, if that is newer and for this
// registration.
func (s *Source) read() {
	if s.file == nil {
		return
	}
	b, err := s.file.Read()
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opt.Log.Warn("kept access token cannot be read, another will be asked for", "file", s.opt.File, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && k.For == s.key() && k.Got.After(s.kept.Got) {
		s.kept = k
	}
}

func (s *Source) write(k *kept) error {
	if s.file == nil {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return s.file.Write(append(b, '\n'))
}
