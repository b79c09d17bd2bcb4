package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/phrase"
	"postern/reputation/identity"
	"postern/upstream"
)

// connectBound is the most that Connect may take.
const connectBound = 3 * time.Minute

// Connect tries what mail will need, as of now: a session with each upstream
// host, each command that Redis has to run, test messages to each scanner,
// certificates, and a signature by each DKIM key; with dns these are compared with the record in DNS. It ends within
// three minutes.
func Connect(ctx context.Context, f *config.File, dns bool) []identity.Finding {
	ctx, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	var all []identity.Finding
	all = append(all, tryUpstreams(ctx, f)...)
	all = append(all, tryRedis(ctx, f)...)
	all = append(all, tryScanners(ctx, f, time.Now())...)
	all = append(all, tryWatchFiles(f)...)
	all = append(all, tryStrangers(f, time.Now())...)
	all = append(all, tryFalseAlarms(f, time.Now())...)
	all = append(all, tryCertificates(f, time.Now())...)
	return append(all, tryKeys(ctx, f, dns, time.Now())...)
}

// tryUpstreams makes a session with each host on each way that a stream takes.
func tryUpstreams(ctx context.Context, f *config.File) (all []identity.Finding) {
	tried := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.Stream)) {
		s := f.Stream[name]
		way := fmt.Sprint(s.Upstream, s.SourceIP, s.EHLO)
		if tried[way] || f.Upstream[s.Upstream].Capture != "" {
			continue
		}
		tried[way] = true
		cfg := f.Upstream[s.Upstream].Config
		if cfg.MX {
			all = append(all, tryDNS(ctx, f, name))
			continue
		}
		u, err := upstream.New(s.Upstream, cfg, upstream.Options{Hostname: f.Hostname, TokenFile: f.TokenFile(s.Upstream)})
		if err != nil {
			all = append(all, identity.Finding{Check: "upstream", Subject: s.Upstream, Status: identity.Fail, Seen: err.Error(), Change: "mend the table"})
			continue
		}
		for _, t := range u.Try(ctx, upstream.Route{SourceIPs: s.SourceIP, EHLO: s.EHLO}) {
			all = append(all, triedFinding(&t, s.Upstream, name, &cfg))
		}
		u.Close(ctx)
	}
	return all
}

func triedFinding(t *upstream.Tried, name, stream string, cfg *upstream.Config) identity.Finding {
	f := identity.Finding{Check: "upstream", Subject: name + " " + t.Host, Stream: stream, Status: identity.Pass, Asked: "a session up to where MAIL may come"}
	if t.Err != nil {
		f.Status, f.Seen = identity.Fail, phrase.Printable(t.Err.Error())
		switch {
		case t.OfLogin:
			f.Change = fmt.Sprintf("correct username and password of [upstream.%s]", name)
		case t.OfSource:
			f.Change = fmt.Sprintf("give this machine the address, or correct source_ip of [stream.%s]", stream)
		default:
			f.Change = hostRemedy(t.Err, name)
		}
		return f
	}
	words := []string{"not encrypted"}
	if t.TLS != nil {
		words = []string{tls.VersionName(t.TLS.Version)}
		switch left := time.Until(t.TLS.PeerCertificates[0].NotAfter); {
		case cfg.TLS != upstream.EncryptVerified:
			words = append(words, "certificate not looked at")
		case left < expiresSoon:
			f.Status, f.Change = identity.Warn, "ask the owner of the host to renew it"
			words = append(words, "certificate ends in "+phrase.Span(left))
		default:
			words = append(words, "certificate verified, until "+t.TLS.PeerCertificates[0].NotAfter.Format(time.DateOnly))
		}
	}
	if cfg.Username != "" {
		words = append(words, fmt.Sprintf("login as %q taken", cfg.Username))
	}
	f.Seen = strings.Join(append(words, "from "+t.Source.String()), ", ")
	return f
}

// hostRemedy says what to do about a host with which no session could be made.
func hostRemedy(err error, name string) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "ask the owner of the host to renew its certificate, and see that the clock of this machine is right"
	case errors.As(err, &unknown):
		return fmt.Sprintf("name the authority of its certificate as ca in [upstream.%s]", name)
	case errors.As(err, &other):
		return fmt.Sprintf("name the host in hosts of [upstream.%s] as its certificate has it, or give that name as server_name", name)
	}
	return fmt.Sprintf("see that the host answers from here, or correct [upstream.%s]", name)
}
