// Package client asks a relay through its API: on the control socket, or by HTTPS with
// a token from another machine.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/api"
	"postern/internal/httpfault"
	"postern/internal/secret"
	"postern/internal/text"
)

// Client asks one relay.
type Client struct {
	http  *http.Client
	base  string // without a slash at its end
	token string
	// most is how many octets of an answer are read, objects how many objects may be in
	// it; 0: any number.
	most, objects int
	// unreachable is about an error of the way there.
	unreachable func(error) error
}

const (
	// timeout bounds one request.
	timeout = time.Minute
	// maxAnswer is the most that is read of an answer.
	maxAnswer = 64 << 20
	// doubtedAnswer and doubtedObjects are that of a relay that may be in other hands. An
	// object of two octets becomes an event of some hundred.
	doubtedAnswer  = 8 << 20
	doubtedObjects = 100_000
)

// OnSocket asks the relay behind a control socket.
func OnSocket(path string) *Client {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	return &Client{http: &http.Client{Timeout: timeout, Transport: transport}, base: "http://relay", most: maxAnswer, unreachable: func(err error) error {
		return fmt.Errorf("no relay answers on %s: %w; is it running, and are you its user or root?", path, err)
	}}
}

// At asks the relay at a URL, with the token in a file that nobody else can read. ca is
// a file of authorities in place of the system's; blank: the system's. The error is for
// whoever wrote these.
func At(server, tokenFile, ca string) (*Client, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		return nil, fmt.Errorf("-server %q is not such as https://relay.example.org:8025", server)
	case u.Scheme != "https" && !(u.Scheme == "http" && text.IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("-server %s: the token would cross the net in plain text; write https://", server)
	case tokenFile == "":
		return nil, errors.New("-server needs -token-file")
	}
	token, err := secret.Password(tokenFile)
	if err != nil {
		return nil, fmt.Errorf("-token-file: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("-ca %s holds no certificate", ca)
		}
	}
	// Another address that an answer names would get the token.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		http: &http.Client{Timeout: timeout, CheckRedirect: stay, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true}},
		base: strings.TrimSuffix(server, "/"), token: strings.TrimSpace(token), most: maxAnswer,
		unreachable: func(err error) error { return fmt.Errorf("no relay answers at %s: %w", server, err) },
	}, nil
}

// Within is c with another bound for one request.
func (c *Client) Within(d time.Duration) *Client {
	within, transport := *c, *c.http
	transport.Timeout = d
	within.http = &transport
	return &within
}

// Doubting is c for a relay that may be in other hands, whose answers must not fill our
// memory.
func (c *Client) Doubting() *Client {
	doubting := *c
	doubting.most, doubting.objects = doubtedAnswer, doubtedObjects
	return &doubting
}

// Misuse is the error of a request that cannot be carried out as it stands.
type Misuse string

func (m Misuse) Error() string { return string(m) }

// Get asks for path, which is below api.Root; values without text are left out.
func (c *Client) Get(path string, values url.Values, out any) error {
	query := url.Values{}
	for k, all := range values {
		if len(all) > 0 && all[0] != "" {
			query[k] = all
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.ask(http.MethodGet, path, nil, out)
}

// Do has the relay do something; out takes the result, nil nothing.
func (c *Client) Do(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var done struct{ Result json.RawMessage }
	if err := c.ask(http.MethodPost, path, body, &done); err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(done.Result, out); err != nil {
		return fmt.Errorf("read the relay's answer: %w", err)
	}
	return nil
}

func (c *Client) ask(method, path string, body []byte, out any) error {
	req, err := http.NewRequest(method, c.base+api.Root+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if err = httpfault.Plain(err); errors.As(err, &op) {
			err = op.Err
		}
		return c.unreachable(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, int64(c.most)+1))
	if err == nil && (len(text) > c.most || c.objects > 0 && bytes.Count(text, []byte{'{'}) > c.objects) {
		err = errors.New("it is too long")
	}
	if err != nil {
		return fmt.Errorf("read the relay's answer: %w", err)
	}
	return read(res, text, out)
}

func read(res *http.Response, text []byte, out any) error {
	if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("read the relay's answer: %w", err)
		}
		return nil
	}
	var p api.Problem
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the answer was not that of a relay: %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict:
		return Misuse(p.Detail)
	}
	return &p
}

// pageSize is how much is asked for at once.
const pageSize = 1000

// All reads the pages of a list, up to most items (0: all). total is how many there are.
func All[T any](c *Client, path string, values url.Values, most int) (list []T, total int, err error) {
	list, query := []T{}, url.Values{}
	for k, v := range values {
		query[k] = v
	}
	for {
		size := pageSize
		if most > 0 {
			size = min(size, most-len(list))
		}
		query.Set("limit", strconv.Itoa(size))
		var p api.Page[T]
		if err := c.Get(path, query, &p); err != nil {
			return nil, 0, err
		}
		if len(p.Items) == 0 && p.Next != "" {
			return nil, 0, errors.New("read the relay's answer: an empty page is not the last")
		}
		list = append(list, p.Items...)
		if p.Next == "" || most > 0 && len(list) >= most {
			return list, p.Total, nil
		}
		query.Set("cursor", p.Next)
	}
}
