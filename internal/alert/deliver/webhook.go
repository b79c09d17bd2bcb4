package deliver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"postern/internal/alert"
	"postern/internal/httpfault"
)

// Sender brings one batch to a receiver, in one try.
type Sender interface {
	Send(ctx context.Context, b *alert.Batch) alert.Result
}

const (
	sendTimeout = 10 * time.Second
	maxAnswer   = 64 << 10
)

// poster posts JSON to one URL.
type poster struct {
	url    string
	token  string
	secret []byte
	client *http.Client
	now    func() time.Time
}

// newPoster makes one; path is appended to the URL.
func newPoster(c *Config, path string, now func() time.Time) (*poster, error) {
	if c.url == nil {
		return nil, errors.New("has no URL")
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer,
		TLSHandshakeTimeout: sendTimeout, ResponseHeaderTimeout: sendTimeout,
	}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: %s holds no PEM certificate", c.CA)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	u := *c.url
	if path != "" {
		u = *u.JoinPath(path)
	}
	return &poster{url: u.String(), token: c.token, secret: c.secret, now: now, client: &http.Client{
		Transport: t, Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// post sends v in one request.
func (p *poster) post(ctx context.Context, id string, v any) alert.Result {
	body, err := json.Marshal(v)
	if err != nil {
		return alert.Result{Err: err, Refused: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return alert.Result{Err: errors.New("its URL cannot be used")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "postern")
	req.Header.Set("X-Postern-Id", id)
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	if len(p.secret) > 0 {
		req.Header.Set("X-Postern-Signature", signature(p.secret, p.now(), body))
	}
	res, err := p.client.Do(req)
	if err != nil {
		return alert.Result{Err: httpfault.Plain(err)}
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return judge(res.StatusCode)
}

// signature is the value of X-Postern-Signature: "t=SECONDS,v1=HEX", where HEX is the
// HMAC-SHA256 of SECONDS, a dot and the body. A receiver holds the time against its
// clock, so that nobody can send an old notice again.
func signature(secret []byte, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}

// judge says what a status means. Nothing of the answer is quoted: it may repeat what
// was asked, and the URL with it.
func judge(status int) alert.Result {
	if status/100 == 2 {
		return alert.Result{}
	}
	r := alert.Result{Err: fmt.Errorf("the receiver answered %d %s", status, http.StatusText(status))}
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		r.Refused = true
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		r.Err = fmt.Errorf("the receiver answered %d, and redirects are not followed; write the URL that it leads to", status)
	}
	return r
}

// webhook posts each batch as JSON.
type webhook struct {
	*poster
	form form
}

// payload is the body of a webhook: one alert with its fields, or a digest of several.
type payload struct {
	Version int `json:"version"`
	alert.Alert
}

type digestPayload struct {
	Version int           `json:"version"`
	ID      string        `json:"id"`
	Relay   string        `json:"relay"`
	Status  string        `json:"status"` // "digest"
	Time    time.Time     `json:"time"`
	Alerts  []alert.Alert `json:"alerts"`
	Lost    int           `json:"lost"`
	Over    int           `json:"over"`
}

// payloadVersion changes when a field changes its meaning.
const payloadVersion = 1

func (w *webhook) Send(ctx context.Context, b *alert.Batch) alert.Result {
	alerts := w.form.all(b.Alerts)
	if !b.Digest && len(alerts) == 1 {
		return w.post(ctx, b.ID, payload{payloadVersion, alerts[0]})
	}
	return w.post(ctx, b.ID, digestPayload{payloadVersion, b.ID, w.form.relay, "digest", b.Time, alerts, b.Lost, b.Over})
}

// slack posts a text.
type slack struct {
	*poster
	form form
}

func (s *slack) Send(ctx context.Context, b *alert.Batch) alert.Result {
	subject, text := s.form.text(b)
	return s.post(ctx, b.ID, map[string]string{"text": slackText(subject + "\n" + text)})
}
