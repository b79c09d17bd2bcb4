package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/dkimsign"
	"postern/upstream/profile"
)

// Way is how the mail of a stream is signed: as the stream says, else as its
// upstream does.
func (f *File) Way(stream string) dkimsign.WayConfig {
	s := f.Stream[stream]
	return s.WayConfig.Over(f.Upstream[s.Upstream].WayConfig)
}

// ways holds what is said of signatures, by upstreams and streams, against the
// keys that there are.
func (x *crossCheck) ways() {
	for _, name := range x.names["upstream"] {
		u := x.Upstream[name]
		x.way(join("upstream", name), u.WayConfig)
		if p, err := profile.Find(u.Profile); err == nil && p.Login && u.Username == "" && u.Capture == "" {
			x.d.warn(join(join("upstream", name), "profile"), "this provider takes mail only of customers who log in; write username with password_file, or with oauth")
		}
	}
	for _, name := range x.names["stream"] {
		x.way(join("stream", name), x.Stream[name].WayConfig)
		x.covered(name)
		x.doubled(name)
	}
}

// doubled warns of several signatures on a way that takes one: none of that mail
// would be delivered.
func (x *crossCheck) doubled(stream string) {
	u, c := x.Upstream[x.Stream[stream].Upstream], x.Way(stream)
	p := u.provider()
	if p == nil || !p.OneSignature || c.SignKeys.Is(dkimsign.SignFirst) || c.SignKeys.Is(dkimsign.SignNone) {
		return
	}
	for _, domain := range sortedKeys(x.DKIM) {
		n := 0
		for _, k := range x.DKIM[domain].Keys {
			if !c.SignKeys.Named() || c.SignKeys.Holds(domain, k.Selector) {
				n++
			}
		}
		if n > 1 {
			x.d.warn(join("stream", stream), fmt.Sprintf("its mail from %s would have %d signatures, of which %s takes one, and wait; set sign_keys = \"first\" there, or profile = %q in [upstream.%s]",
				domain, n, p.Title, p.Name, x.Stream[stream].Upstream))
		}
	}
}

// provider is that of the profile, else of the first host that is known; nil for
// none.
func (u *UpstreamConfig) provider() *profile.Profile {
	if p, err := profile.Find(u.Profile); err == nil {
		return p
	}
	for _, host := range u.Hosts {
		if p := profile.OfHost(host); p != nil {
			return p
		}
	}
	return nil
}

// way looks for the keys and fields that c names.
func (x *crossCheck) way(path string, c dkimsign.WayConfig) {
	for i, name := range c.SignKeys {
		if c.SignKeys.Named() && !x.haveKey(name) {
			x.d.problem(join(join(path, "sign_keys"), strconv.Itoa(i)), fmt.Sprintf("no table [dkim.DOMAIN] has a key %q; %s", name, x.keysThere()))
		}
	}
	for i, name := range c.UnsignedFields {
		at := join(join(path, "unsigned_fields"), strconv.Itoa(i))
		if !dkimsign.CanSign(name) {
			x.d.warn(at, fmt.Sprintf("%q is never signed anyway; remove it", name))
		}
		if strings.HasPrefix(strings.ToLower(name), "list-unsubscribe") {
			x.d.warn(at, "receivers heed one-click unsubscription only where List-Unsubscribe and List-Unsubscribe-Post are signed (RFC 8058 s. 4)")
		}
	}
}

// haveKey reports whether a [dkim] table has a key of that name.
func (x *crossCheck) haveKey(name string) bool {
	for domain, c := range x.DKIM {
		if slices.ContainsFunc(c.Keys, func(k dkimsign.KeyConfig) bool {
			return dkimsign.KeyNames{name}.Holds(domain, k.Selector)
		}) {
			return true
		}
	}
	return false
}

// keysThere names some of the keys.
func (x *crossCheck) keysThere() string {
	const most = 5
	var all []string
	for _, domain := range sortedKeys(x.DKIM) {
		for _, k := range x.DKIM[domain].Keys {
			if all = append(all, domain+"/"+k.Selector); len(all) == most {
				return "some that there are: " + strings.Join(all, ", ")
			}
		}
	}
	if len(all) == 0 {
		return "there are no keys at all; write such a table or remove the name"
	}
	return "there are " + strings.Join(all, ", ")
}

// covered refuses keys of which none is for a domain that the clients of a stream
// send for and that requires its signature: none of that mail could leave.
func (x *crossCheck) covered(stream string) {
	s := x.Stream[stream]
	c := x.Way(stream)
	if !c.SignKeys.Named() {
		return
	}
	path := join(join("stream", stream), "sign_keys")
	if s.SignKeys == nil {
		path = join(join("upstream", s.Upstream), "sign_keys")
	}
	told := map[string]bool{}
	for _, client := range x.names["client"] {
		if x.Client[client].Stream != stream {
			continue
		}
		for _, pattern := range x.Widest(x.Client[client]) {
			domain := x.SigningDomain(pattern)
			if domain == "" || told[domain] || !x.DKIM[domain].Require || x.signs(domain, c.SignKeys) {
				continue
			}
			told[domain] = true
			x.d.problem(path, fmt.Sprintf("names no key of %s, which [client.%s] sends for and which requires its signature, so that all its mail would wait; add one of its keys, or set require = false in [dkim.%q]", domain, client, domain))
		}
	}
}

// signs reports whether one of the keys of a domain is among the names.
func (x *crossCheck) signs(domain string, names dkimsign.KeyNames) bool {
	return slices.ContainsFunc(x.DKIM[domain].Keys, func(k dkimsign.KeyConfig) bool { return names.Holds(domain, k.Selector) })
}
