package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/internal/oauth"
	"postern/internal/text"
	"postern/internal/tlsmin"
	"postern/mx"
)

// TLSPolicy says how much encryption an upstream must give.
type TLSPolicy string

// The policies.
const (
	EncryptOff           TLSPolicy = "off"           // plain text, STARTTLS is not used
	EncryptOpportunistic TLSPolicy = "opportunistic" // STARTTLS where it works, certificate not looked at, else plain text
	EncryptRequired      TLSPolicy = "required"      // encrypted or not at all, certificate not looked at
	EncryptVerified      TLSPolicy = "verified"      // encrypted, and the certificate is valid for the host's name
)

// UnmarshalText accepts the four names; blank is an error.
func (p *TLSPolicy) UnmarshalText(b []byte) error {
	return text.OneOf(p, b, EncryptOff, EncryptOpportunistic, EncryptRequired, EncryptVerified)
}

// MarshalText returns the name.
func (p TLSPolicy) MarshalText() ([]byte, error) { return []byte(p), nil }

// Config is one [upstream.NAME]: where mail goes, and over what.
type Config struct {
	// Config has the keys of mx = true.
	mx.Config
	// Domain holds exceptions for the mail to single recipient domains, by their exact
	// names, with mx = true. Blank: none.
	Domain map[string]Exception `toml:"domain"`
	// Hosts are "host:port" in order of preference; without a port it is 25. A
	// host that fails is asked last for RetryAfter. Names are resolved to A and
	// AAAA, never to MX. Required, unless Capture is set.
	Hosts []string `toml:"hosts"`
	// TLS is off, opportunistic, required or verified. Default: verified, so
	// that leaving it out never sends mail in plain text.
	TLS TLSPolicy `toml:"tls"`
	// ImplicitTLS speaks TLS from the first octet (RFC 8314, port 465) instead
	// of STARTTLS. Default: false.
	ImplicitTLS bool `toml:"implicit_tls"`
	// TLSMin is the oldest TLS that is spoken: "1.0" and "1.1" also let in cipher
	// suites without forward secrecy and 3DES, never RC4. Not with a password.
	// Default: "1.2".
	TLSMin tlsmin.Version `toml:"tls_min"`
	// CA is a PEM file of the authorities that the certificate is verified
	// against, in place of the system's. Blank: the system's.
	CA string `toml:"ca" form:"path"`
	// ServerName is the name that the certificate must be valid for, and that is
	// asked for by SNI. Blank: the host as written in Hosts.
	ServerName string `toml:"server_name"`
	// Username for AUTH PLAIN or LOGIN, which are used only under TLS. Blank: no AUTH.
	Username string `toml:"username"`
	// Password of Username. Better in a file or the environment.
	Password string `toml:"password"`
	// PasswordFile holds the password and nothing else; a byte order mark and
	// line ends do not count. Nobody else may be able to read it. Blank: see
	// Password.
	PasswordFile string `toml:"password_file" form:"path"`
	// OAuth logs in as Username with access tokens of the provider in place of a
	// password (OAUTHBEARER, XOAUTH2). Nil: with the password.
	OAuth *oauth.Config `toml:"oauth"`
	// PasswordEnv names the environment variable with the password. Blank: see Password.
	PasswordEnv string `toml:"password_env"`

	// MaxConnections to each host at one time, of all streams; at least 1. Default: 50.
	MaxConnections int `toml:"max_connections"`
	// MessagesPerConnection after which a connection is closed; at least 1. A host that
	// turns out to take fewer gets fewer for a day. Default: 1,000.
	MessagesPerConnection int `toml:"messages_per_connection"`
	// IdleTimeout after which an unused connection is closed. Default: 30s.
	IdleTimeout time.Duration `toml:"idle_timeout"`
	// MaxLifetime of a connection, from its start; a transaction in it still
	// ends. Default: 10m.
	MaxLifetime time.Duration `toml:"max_lifetime"`

	// ConnectTimeout bounds the making of a TCP connection to one address, and
	// the resolution of the host's name. Default: 20s.
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	// GreetingTimeout bounds the wait for the greeting. Some hosts let everybody
	// wait for half a minute; RFC 5321 s. 4.5.3.2.1 has 5 minutes, for which
	// [timeouts] upstream must be longer, too. Default: 60s.
	GreetingTimeout time.Duration `toml:"greeting_timeout"`
	// TLSTimeout bounds the TLS handshake. Default: 30s.
	TLSTimeout time.Duration `toml:"tls_timeout"`
	// AuthTimeout bounds the wait for each reply to AUTH. Default: 60s.
	AuthTimeout time.Duration `toml:"auth_timeout"`
	// CommandTimeout bounds the wait for the replies to EHLO, STARTTLS, MAIL,
	// RCPT, DATA and RSET. Default: 60s.
	CommandTimeout time.Duration `toml:"command_timeout"`
	// DataTimeout bounds the sending of each 256 KiB of a body. Default: 60s.
	DataTimeout time.Duration `toml:"data_timeout"`
	// FinalTimeout bounds the wait for the reply to the final dot; when it
	// passes, nobody knows whether the mail was taken, and it may be sent twice.
	// Default: 10m (RFC 5321 s. 4.5.3.2.6).
	FinalTimeout time.Duration `toml:"final_timeout"`
	// WaitTimeout is how long a transaction waits for one of the MaxConnections
	// to become free, before the next host is asked. Default: 10s.
	WaitTimeout time.Duration `toml:"wait_timeout"`
	// RetryAfter is how long a host that failed is asked last. Default: 30s.
	RetryAfter time.Duration `toml:"retry_after"`

	// Pipelining sends command groups in one write where the host offers it.
	// Default: true.
	Pipelining bool `toml:"pipelining"`
	// Chunking uses BDAT in place of DATA where the host offers CHUNKING. Only DATA
	// has a reply like no other, 354, which shows replies out of step before the
	// message leaves. With BDAT an EHLO behind each message shows them; a host that
	// does not answer it gets the message again. Default: false.
	Chunking bool `toml:"chunking"`

	// Capture is a folder. With it nothing leaves: each message is written there
	// as NAME.eml, its envelope beside it as NAME.json. Blank: mail is sent.
	Capture string `toml:"capture" form:"path"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() {
	*c = Config{
		Config: c.Config, // its defaults have been set
		TLS:    EncryptVerified, TLSMin: tlsmin.V12, MaxConnections: 50, MessagesPerConnection: 1000,
		IdleTimeout: 30 * time.Second, MaxLifetime: 10 * time.Minute, ConnectTimeout: 20 * time.Second,
		GreetingTimeout: time.Minute, TLSTimeout: 30 * time.Second, AuthTimeout: time.Minute,
		CommandTimeout: time.Minute, DataTimeout: time.Minute, FinalTimeout: 10 * time.Minute,
		WaitTimeout: 10 * time.Second, RetryAfter: 30 * time.Second, Pipelining: true,
	}
}

// Check reports every problem of the table by itself. PasswordFile and
// PasswordEnv must have been resolved into Password before.
func (c *Config) Check(report func(key, problem string)) {
	if c.Capture != "" {
		if len(c.Hosts) > 0 {
			report("capture", "an upstream either captures or sends; remove capture or hosts")
		}
		return
	}
	if !c.MX {
		if len(c.Hosts) == 0 {
			report("hosts", `empty; name at least one as "host:port", or set capture to write mail to a folder`)
		}
		checkHosts(c.Hosts, c.ImplicitTLS, report)
	}
	c.checkCredentials(report)
	c.checkNumbers(report)
	if c.TLS == EncryptOff && (c.ImplicitTLS || c.CA != "" || c.ServerName != "") {
		report("tls", `"off" although implicit_tls, ca or server_name is set; choose "verified" or remove them`)
	}
	if c.TLS != EncryptOff && c.TLS != EncryptVerified && c.CA != "" && !(c.MX && c.MTASTS) {
		report("ca", fmt.Sprintf(`tls = %q does not look at certificates; set tls = "verified" or remove ca`, c.TLS))
	}
	if c.ImplicitTLS && c.TLS == EncryptOpportunistic {
		report("implicit_tls", `cannot be opportunistic; set tls = "required" or "verified"`)
	}
	if c.TLS == EncryptOff && c.TLSMin != "" && c.TLSMin != tlsmin.V12 {
		report("tls_min", `does nothing with tls = "off"; remove it or choose "verified"`)
	}
	if c.TLSMin.IsOld() && c.Username != "" {
		report("tls_min", fmt.Sprintf("%q would send the password under encryption that can be broken; use 1.2 or newer", c.TLSMin))
	}
	if strings.ContainsAny(c.ServerName, " \t\r\n:/") {
		report("server_name", fmt.Sprintf("%q is not a host name; write the name alone", c.ServerName))
	}
}

func checkHosts(hosts []string, implicitTLS bool, report func(key, problem string)) {
	seen := map[string]int{}
	for i, text := range hosts {
		key := fmt.Sprintf("hosts.%d", i)
		name, port, err := splitHost(text)
		if err != nil {
			report(key, err.Error())
			continue
		}
		if port == 465 && !implicitTLS {
			report(key, "port 465 speaks TLS from the first octet; set implicit_tls = true or use port 587")
		}
		addr := net.JoinHostPort(name, strconv.Itoa(port))
		if j, ok := seen[addr]; ok {
			report(key, fmt.Sprintf("the same as hosts.%d; remove one", j))
		}
		seen[addr] = i
	}
}

func (c *Config) checkCredentials(report func(key, problem string)) {
	switch {
	case c.Username == "" && c.Password == "" && c.OAuth == nil:
		return
	case c.OAuth != nil && c.Username == "":
		report("username", "missing; name the mailbox in whose name mail is submitted")
	case c.OAuth != nil && c.Password != "":
		report("password", "stands beside oauth; remove one of them")
	case c.OAuth != nil:
	case c.Username == "":
		report("username", "missing although a password is given; set it or remove the password")
	case c.Password == "":
		report("password", "missing or empty; set password_file or password_env, or remove username")
	}
	if strings.ContainsAny(c.Username+c.Password, "\x00\r\n") {
		report("password", "user name or password holds NUL or a line end; remove it")
	}
	if c.TLS != EncryptVerified && c.TLS != EncryptRequired {
		report("tls", fmt.Sprintf(`%q would send the password in plain text; set tls = "verified"`, c.TLS))
	}
}

func (c *Config) checkNumbers(report func(key, problem string)) {
	for key, n := range map[string]int{"max_connections": c.MaxConnections, "messages_per_connection": c.MessagesPerConnection} {
		if n < 1 {
			report(key, fmt.Sprintf("%d is too small; write 1 or more, or leave it out for the default", n))
		}
	}
	for key, d := range map[string]time.Duration{
		"idle_timeout": c.IdleTimeout, "max_lifetime": c.MaxLifetime, "connect_timeout": c.ConnectTimeout,
		"greeting_timeout": c.GreetingTimeout, "tls_timeout": c.TLSTimeout, "auth_timeout": c.AuthTimeout,
		"command_timeout": c.CommandTimeout, "data_timeout": c.DataTimeout, "final_timeout": c.FinalTimeout,
		"wait_timeout": c.WaitTimeout, "retry_after": c.RetryAfter,
	} {
		if d <= 0 {
			report(key, fmt.Sprintf(`%v is not positive; write a duration such as "30s", or leave it out for the default`, d))
		}
	}
}

// splitHost takes "host", "host:port", "[v6]" or "[v6]:port" apart.
func splitHost(text string) (name string, port int, err error) {
	name, port = text, 25
	if h, p, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return "", 0, fmt.Errorf("%q: port %q is not a number from 1 to 65535; write it as \"host:587\"", text, p)
		}
		name, port = h, n
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return name, port, nil
	}
	if name == "" || len(name) > 253 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", 0, fmt.Errorf("%q is not a host; write it as \"smtp.example.org:587\" or \"[2001:db8::25]:587\"", text)
	}
	return strings.TrimSuffix(name, "."), port, nil
}
