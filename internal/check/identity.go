package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/dkimsign"
	"postern/internal/config"
	"postern/internal/syntax"
	"postern/relay/smtpd"
	"postern/reputation/identity"
	"postern/upstream"
)

// Identity collects what the world sees of a configuration. What is only
// captured is left out.
func Identity(f *config.File, signers *dkimsign.Signers) identity.Presence {
	id := identity.Presence{Hostname: f.Hostname}
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.Stream)) {
		s := streamIdentity(f, name)
		id.Streams = append(id.Streams, s)
		used[f.Stream[name].Upstream] = used[f.Stream[name].Upstream] || !s.Silent
	}
	leaves := func(stream string) bool { return f.Upstream[f.Stream[stream].Upstream].Capture == "" }
	for _, d := range domainIdentities(f) {
		if slices.ContainsFunc(d.Streams, leaves) {
			id.Domains = append(id.Domains, d)
		}
	}
	if signers != nil && len(id.Domains) > 0 {
		for _, k := range signers.Keys() {
			id.Keys = append(id.Keys, keyIdentity(f, k))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Upstream)) {
		if used[name] {
			id.Upstreams = append(id.Upstreams, upstreamIdentities(name, f.Upstream[name].Config, f.Hostname)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Listener)) {
		id.Certificates = append(id.Certificates, certificateIdentities(name, f.Listener[name])...)
	}
	return id
}

func streamIdentity(f *config.File, name string) identity.StreamIdentity {
	s := f.Stream[name]
	ips := s.PublicIPs
	if len(ips) == 0 {
		ips = f.Reputation.PublicIPs
	}
	if len(ips) == 0 {
		ips = s.SourceIP
	}
	out := identity.StreamIdentity{
		Name: name, EHLO: cmp.Or(s.EHLO, f.Hostname), Silent: f.Upstream[s.Upstream].Capture != "", OnListing: s.OnListing,
	}
	for _, ip := range ips {
		out.Addresses = append(out.Addresses, ip.Unmap())
	}
	for _, c := range slices.Sorted(maps.Keys(f.Client)) {
		if f.Client[c].Stream == name {
			out.Clients = append(out.Clients, c)
		}
	}
	return out
}

// domainIdentities are the domains of all patterns of senders, each with the
// streams of the clients that own it.
func domainIdentities(f *config.File) (domains []identity.DomainIdentity) {
	for _, name := range slices.Sorted(maps.Keys(f.Client)) {
		c := f.Client[name]
		for _, pattern := range f.Widest(c) {
			domain, below := strings.CutPrefix(pattern[strings.LastIndexByte(pattern, '@')+1:], "*.")
			domain, err := syntax.Domain(domain)
			if err != nil {
				continue // reported when the file was read
			}
			i := slices.IndexFunc(domains, func(d identity.DomainIdentity) bool { return d.Name == domain && d.Below == below })
			if i < 0 {
				i = len(domains)
				domains = append(domains, identity.DomainIdentity{Name: domain, Below: below, SignedBy: f.SigningDomain("@" + domain)})
			}
			d := &domains[i]
			if !slices.Contains(d.Streams, c.Stream) {
				d.Streams = append(d.Streams, c.Stream)
			}
			if !slices.Contains(d.Clients, name) {
				d.Clients = append(d.Clients, name)
			}
			addSender(d, pattern)
		}
	}
	return domains
}

// addSender notes whom a pattern of senders names in its domain.
func addSender(d *identity.DomainIdentity, pattern string) {
	if strings.HasPrefix(pattern, "@") {
		d.Open = true
		return
	}
	a, err := config.ParseAddress(pattern)
	if err != nil || len(d.Senders) > identity.MaxSPFSenders {
		return // reported when the file was read; one too many says that there are more
	}
	if local := strings.ToLower(a.Local); !slices.Contains(d.Senders, local) {
		d.Senders = append(d.Senders, local)
	}
}

func keyIdentity(f *config.File, k *dkimsign.Key) identity.KeyIdentity {
	_, value := k.Record()
	out := Record(k.Domain, k.Selector, value)
	out.RequirePublished = string(f.DKIM[k.Domain].RequirePublished)
	out.Rotate = config.Command(f.Path(), "dkim", "rotate", k.Domain)
	return out
}

// Record reads the record that is to be published for a key.
func Record(domain, selector, value string) identity.KeyIdentity {
	out := identity.KeyIdentity{Domain: domain, Selector: selector, Type: "rsa", Record: value}
	for tag := range strings.SplitSeq(value, ";") {
		switch name, v, _ := strings.Cut(strings.TrimSpace(tag), "="); name {
		case "k":
			out.Type = v
		case "p":
			out.Public = v
		}
	}
	return out
}

func certificateIdentities(name string, l smtpd.ListenerConfig) (all []identity.CertificateIdentity) {
	if l.TLS == smtpd.TLSNone {
		return nil
	}
	pairs := append([]smtpd.CertificateConfig{{Certificate: l.Certificate, Key: l.Key}}, l.Certificates...)
	for _, p := range pairs {
		c := identity.CertificateIdentity{Where: "listener " + name + " " + p.Certificate}
		pair, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
		if err != nil {
			c.Err = err
		} else {
			c.Leaf = pair.Leaf
		}
		all = append(all, c)
	}
	return all
}

func upstreamIdentities(name string, cfg upstream.Config, hostname string) (all []identity.UpstreamIdentity) {
	for _, text := range cfg.Hosts {
		host, port := hostAndPort(text)
		u := identity.UpstreamIdentity{Name: name, Host: host, Port: port, System: systemHosts}
		if cfg.TLS != upstream.EncryptOff || cfg.ImplicitTLS {
			u.Probe = func(ctx context.Context, addresses []netip.Addr) (identity.CertificateView, error) {
				cfg := cfg
				cfg.Hosts = []string{text}
				return probeCertificate(ctx, cfg, host, addresses, hostname)
			}
		}
		all = append(all, u)
	}
	return all
}

// hostAndPort takes a host of an upstream apart; the file has been checked.
func hostAndPort(text string) (string, int) {
	if h, p, err := net.SplitHostPort(text); err == nil {
		if port, err := strconv.Atoi(p); err == nil {
			return strings.TrimSuffix(h, "."), port
		}
	}
	return strings.TrimSuffix(strings.Trim(text, "[]"), "."), 25
}

// systemHosts asks as the relay itself does when it connects: /etc/hosts, too.
func systemHosts(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// probeTimeout bounds the check of one upstream's certificate.
const probeTimeout = 15 * time.Second

// probeCertificate makes a session with an upstream as the relay would, up to the
// end of TLS: without the password, and whoever the certificate is of.
func probeCertificate(ctx context.Context, cfg upstream.Config, host string, addresses []netip.Addr, hostname string) (identity.CertificateView, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	policy, ca := cfg.TLS, cfg.CA
	cfg.TLS, cfg.CA, cfg.Username, cfg.OAuth = upstream.EncryptRequired, "", "", nil
	u, err := upstream.New("certificate", cfg, upstream.Options{
		Hostname: hostname,
		Lookup:   func(context.Context, string) ([]netip.Addr, error) { return addresses, nil },
	})
	if err != nil {
		return identity.CertificateView{}, err
	}
	defer u.Close(ctx)
	t := u.Try(ctx, upstream.Route{})[0]
	switch {
	case errors.Is(t.Err, upstream.ErrNoSTARTTLS):
		return withoutTLS(policy), nil
	case errors.Is(t.Err, upstream.ErrHandshake):
		return identity.CertificateView{Problem: t.Err.Error()}, nil
	case t.Err != nil:
		return identity.CertificateView{}, t.Err
	}
	view := identity.CertificateView{Leaf: t.TLS.PeerCertificates[0]}
	if policy == upstream.EncryptVerified {
		view.Problem = verifyChain(t.TLS.PeerCertificates, cmp.Or(cfg.ServerName, host), ca)
	}
	return view, nil
}

func withoutTLS(policy upstream.TLSPolicy) identity.CertificateView {
	if policy == upstream.EncryptOpportunistic {
		return identity.CertificateView{}
	}
	return identity.CertificateView{Problem: fmt.Sprintf("the host offers no STARTTLS, and tls = %q asks for it", policy)}
}

// verifyChain says why a chain would not be accepted; "" when it would. That it
// ends soon or has ended is a finding of its own.
func verifyChain(chain []*x509.Certificate, name, caFile string) string {
	options := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return err.Error()
		}
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(pem)
	}
	_, err := chain[0].Verify(options)
	var invalid x509.CertificateInvalidError
	if err == nil || errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return ""
	}
	return err.Error()
}
