package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"postern/internal/syntax"
	"postern/mx"
	"postern/mx/provider"
	"postern/upstream"
)

// directDefaults gives an upstream with mx = true the values that suit receivers'
// hosts, where the file has no others: they let nobody hold as many connections as
// a provider does, and a third of them have no certificate that can be verified.
func (f *File) directDefaults(d *decoder) {
	for name, u := range f.Upstream {
		if !u.MX {
			continue
		}
		path := join("upstream", name)
		for key, set := range map[string]func(){
			"tls":                     func() { u.TLS = upstream.EncryptOpportunistic },
			"max_connections":         func() { u.MaxConnections = 10 },
			"messages_per_connection": func() { u.MessagesPerConnection = 20 },
			"idle_timeout":            func() { u.IdleTimeout = 10 * time.Second },
			"connect_timeout":         func() { u.ConnectTimeout = 10 * time.Second },
		} {
			if !d.src.has(join(path, key)) {
				set()
			}
		}
		f.Upstream[name] = u
	}
}

// direct reports keys that an upstream with mx = true cannot have.
func (x *crossCheck) direct() {
	for _, name := range x.names["upstream"] {
		u := x.Upstream[name]
		u.CheckExceptions(func(key, problem string) { x.d.problem(join("upstream", name)+"."+key, problem) })
		if !u.MX {
			continue
		}
		x.exceptions(name, &u)
		for key, set := range map[string]bool{
			"hosts": len(u.Hosts) > 0, "capture": u.Capture != "", "username": u.Username != "", "password": u.Password != "", "oauth": u.OAuth != nil,
			"implicit_tls": u.ImplicitTLS, "server_name": u.ServerName != "", "tls_min": u.TLSMin.IsOld(),
		} {
			if set {
				x.d.problem(join(join("upstream", name), key), "means nothing with mx = true, for mail goes to hosts that DNS names; remove one of them")
			}
		}
	}
}

// exceptions gives the tables of single domains the names that recipients have.
func (x *crossCheck) exceptions(name string, u *UpstreamConfig) {
	all := map[string]upstream.Exception{}
	for _, domain := range sortedKeys(u.Domain) {
		at := join(join(join("upstream", name), "domain"), domain)
		known, err := syntax.Domain(domain)
		_, twice := all[known]
		switch {
		case err != nil:
			x.d.problem(at, `is not a domain; write it as [upstream.NAME.domain."partner.example"]`)
		case twice:
			x.d.problem(at, "is the same domain as in another table; remove one")
		}
		all[known] = u.Domain[domain]
	}
	u.Domain = all
	x.Upstream[name] = *u
}

// providers makes the groups of receivers.
func (x *crossCheck) providers() {
	groups, err := provider.New(x.Provider)
	if err != nil {
		x.d.joined(err)
	}
	x.groups = groups
	if len(x.Provider) > 0 && !slices.ContainsFunc(x.names["upstream"], func(name string) bool { return x.Upstream[name].MX }) {
		x.d.warn("provider", "no upstream has mx = true, so that these tables change nothing; remove them")
	}
}

// providerNames are those that limits may name; nil before the tables have been read.
func (f *File) providerNames() []string {
	if f.groups == nil {
		return nil
	}
	return f.groups.Names()
}

// Groups are the groups of receivers.
func (f *File) Groups() *provider.Groups { return f.groups }

// sourceFamilies checks how many addresses of one family a stream may leave from.
// To one configured host they would be taken in turn; to many receivers each has
// its own, which a greylist needs.
func (x *crossCheck) sourceFamilies() {
	const most = 32
	for _, name := range sortedKeys(x.Stream) {
		s := x.Stream[name]
		var n [2]int
		for i, a := range s.SourceIP {
			family := 0
			if a.Is6() {
				family = 1
			}
			n[family]++
			at := join(join(join("stream", name), "source_ip"), strconv.Itoa(i))
			switch direct := x.Upstream[s.Upstream].MX; {
			case !direct && n[family] > 1:
				x.d.problem(at, "is a second address of one family; make a stream for each, or use an upstream with mx = true")
			case n[family] > most:
				x.d.problem(at, fmt.Sprintf("is one of more than %d addresses of one family; make further streams", most))
			default:
				continue
			}
			break
		}
	}
}

// Self is who we are, so that mail to the exchangers of recipients never comes back
// to us.
func (f *File) Self() (s mx.Self) {
	s.Names = append(s.Names, f.Hostname)
	s.Addresses = append(s.Addresses, f.Reputation.PublicIPs...)
	for _, stream := range f.Stream {
		if stream.EHLO != "" {
			s.Names = append(s.Names, stream.EHLO)
		}
		s.Addresses = append(s.Addresses, stream.PublicIPs...)
	}
	for _, l := range f.Listener {
		s.Listeners = append(s.Listeners, l.Address)
	}
	slices.Sort(s.Names)
	slices.SortFunc(s.Addresses, netip.Addr.Compare)
	slices.SortFunc(s.Listeners, netip.AddrPort.Compare)
	return s
}
