package sts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// fetchTimeout bounds the whole fetch of a policy (RFC 8461 s. 3.3).
const fetchTimeout = time.Minute

// fetcher gets policies over HTTPS.
type fetcher struct {
	resolver *resolve.Resolver
	refused  func(netip.Addr) string
	port     int
	client   http.Client
}

func newFetcher(o *Options) *fetcher {
	f := &fetcher{resolver: o.Resolver, refused: o.Refused, port: o.Port}
	f.client = http.Client{
		Timeout: fetchTimeout,
		// RFC 8461 s. 3.3: redirects are not followed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: f.dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
			TLSHandshakeTimeout: 20 * time.Second, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		},
	}
	return f
}

// dial connects to a policy host. Who owns the domain chooses its addresses, so
// that they are judged as those of exchangers are.
func (f *fetcher) dial(ctx context.Context, _, hostPort string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	err = errors.New("no address")
	tried := 0
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		a := f.resolver.Ask(ctx, host, qtype)
		if a.Err != nil {
			err = fmt.Errorf("look up %s: %w", host, a.Err)
		}
		for _, ip := range resolve.Addresses(a.RRs) {
			if is := f.refused(ip.Unmap()); is != "" {
				err = fmt.Errorf("%s: no connection to this address: %s", ip, is)
				continue
			}
			if tried++; tried > 4 {
				return nil, err
			}
			var d net.Dialer
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			c, dialErr := d.DialContext(one, "tcp", net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(f.port)))
			cancel()
			if dialErr == nil {
				return c, nil
			}
			err = dialErr
		}
	}
	return nil, err
}

// fetch gets the policy of a domain.
func (f *fetcher) fetch(ctx context.Context, domain string) (Policy, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return Policy{}, err
	}
	request.Header.Set("User-Agent", "Postern")
	reply, err := f.client.Do(request)
	if err != nil {
		return Policy{}, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("the policy host answers %d", reply.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(reply.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, fmt.Errorf("%w: not text/plain", errInvalid)
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxPolicy+1))
	if err != nil {
		return Policy{}, err
	}
	p, err := Parse(text)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errInvalid, err)
	}
	return p, nil
}
