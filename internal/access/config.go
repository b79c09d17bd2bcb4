package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Config is the part of [admin] that says who may ask.
type Config struct {
	// TokensFile has the tokens of those who may ask, as relay token new writes them;
	// nobody else may be able to read it. It is read again whenever it has changed.
	// Blank: tokens.jsonl in state_dir.
	TokensFile string `toml:"tokens_file" form:"path"`
	// MetricsToken: /metrics takes a token, as Bearer or as the password of Basic, and
	// not everybody. Default: false.
	MetricsToken bool `toml:"metrics_token"`
	// Plain: tokens may come over plain HTTP from other machines, where others on the
	// way can read them. Default: false.
	Plain bool `toml:"plain"`
	// ProxyAuthFrom are the networks of proxies that say, by X-Forwarded-User and
	// X-Forwarded-Groups, who somebody is. From anybody else a request with such a
	// field is refused. Blank: nobody is believed.
	ProxyAuthFrom []netip.Prefix `toml:"proxy_auth_from"`
	// ProxySecretFile holds what such a proxy sends in X-Postern-Proxy-Secret. Needed
	// with proxy_auth_from.
	ProxySecretFile string `toml:"proxy_secret_file" form:"path"`
	// GroupRoles are the roles of groups that such a proxy names: view, operate or
	// admin. Who is in several has the highest. Blank: nobody has one.
	GroupRoles map[string]string `toml:"group_roles"`

	// Certificate is a PEM chain, leaf first, with which the port speaks HTTPS, and Key
	// its private key. Both are read again when they have changed. Blank: plain HTTP.
	Certificate string `toml:"certificate" form:"path"`
	Key         string `toml:"key" form:"path"`
	// ClientCA is a PEM file of authorities; with it a client certificate is asked for
	// and verified. CertificateRoles are the roles of such certificates by a name (SAN)
	// of theirs: view, operate or admin. Blank: nobody gets in by one.
	ClientCA         string            `toml:"client_ca" form:"path"`
	CertificateRoles map[string]string `toml:"certificate_roles"`

	proxySecret string
}

// UseProxySecret takes what ProxySecretFile holds.
func (c *Config) UseProxySecret(text string) { c.proxySecret = text }

// Rules are what a Gate goes by.
func (c *Config) Rules() PortRules {
	r := PortRules{Plain: c.Plain, ProxyFrom: c.ProxyAuthFrom, ProxySecret: c.proxySecret, Groups: map[string]Role{}, Names: map[string]Role{}}
	for name, role := range c.CertificateRoles {
		r.Names[name] = Role(role)
	}
	for group, role := range c.GroupRoles {
		r.Groups[group] = Role(role)
	}
	return r
}

// Check reports what is wrong with the table.
func (c *Config) Check(report func(key, problem string)) {
	if len(c.ProxyAuthFrom) > 0 && c.ProxySecretFile == "" {
		report("proxy_secret_file", "is missing; without a secret every program on the proxy's machine could say who it is")
	}
	if len(c.ProxyAuthFrom) == 0 && c.ProxySecretFile != "" {
		report("proxy_auth_from", "is missing; name the addresses of the proxies, or remove proxy_secret_file")
	}
	for i, p := range c.ProxyAuthFrom {
		if p.IsValid() && p.Bits() == 0 {
			report(fmt.Sprintf("proxy_auth_from.%d", i), "is everybody; name the addresses of the proxies")
		}
	}
	checkRoles(c.GroupRoles, "group_roles", report)
	checkRoles(c.CertificateRoles, "certificate_roles", report)
	switch {
	case (c.Certificate == "") != (c.Key == ""):
		report("certificate", "needs key, and key needs it; write both or none")
	case c.ClientCA != "" && c.Certificate == "":
		report("client_ca", "needs certificate and key: client certificates come over TLS")
	}
	if len(c.CertificateRoles) > 0 && c.ClientCA == "" {
		report("certificate_roles", "needs client_ca, which verifies the certificates")
	}
}

// checkRoles reports roles that a group or a name cannot have; an owner needs a client,
// and so a token.
func checkRoles(roles map[string]string, key string, report func(key, problem string)) {
	for name, role := range roles {
		if !slices.Contains([]Role{View, Operate, Admin}, Role(role)) {
			report(key+"."+name, fmt.Sprintf("%q is no role here; write view, operate or admin", role))
		}
		if name == "" || strings.Contains(name, ",") {
			report(key+"."+name, "a name is blank or has a comma; rename it")
		}
	}
}
