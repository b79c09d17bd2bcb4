package smtpd

import (
	"fmt"
	"net/netip"
	"time"

	"postern/internal/text"
	"postern/internal/tlsmin"
)

// TLSMode says how a listener encrypts.
type TLSMode string

const (
	TLSNone     TLSMode = "none"     // plain text; AUTH only where the listener is loopback
	TLSOptional TLSMode = "optional" // STARTTLS offered
	TLSRequired TLSMode = "required" // nothing but EHLO, NOOP, QUIT before STARTTLS
	TLSImplicit TLSMode = "implicit" // TLS from the first octet (RFC 8314)
)

// UnmarshalText accepts the four names; blank is an error.
func (m *TLSMode) UnmarshalText(b []byte) error {
	return text.OneOf(m, b, TLSNone, TLSOptional, TLSRequired, TLSImplicit)
}

// Newlines says what becomes of bare LF in a body; bare CR and NUL are always
// refused, and only CR LF . CR LF ever ends a message.
type Newlines string

const (
	NewlinesReject    Newlines = "reject"    // 550 5.5.2, and the connection is closed
	NewlinesNormalize Newlines = "normalize" // bare LF becomes CR LF, before signing
)

// UnmarshalText accepts the two names; blank is an error.
func (n *Newlines) UnmarshalText(b []byte) error {
	return text.OneOf(n, b, NewlinesReject, NewlinesNormalize)
}

// Protocol is what a listener speaks.
type Protocol string

const (
	ProtocolSMTP Protocol = "smtp"
	ProtocolLMTP Protocol = "lmtp" // RFC 2033: a reply for each recipient behind the message
)

// UnmarshalText accepts the two names; blank is an error.
func (p *Protocol) UnmarshalText(b []byte) error {
	return text.OneOf(p, b, ProtocolSMTP, ProtocolLMTP)
}

// ListenerConfig is one [listener.NAME].
type ListenerConfig struct {
	// Protocol is smtp or lmtp. LMTP has a reply for each recipient behind the message,
	// so that those of several domains can end differently; never on port 25
	// (RFC 2033 s. 5). Default: smtp.
	Protocol Protocol `toml:"protocol"`
	// Address is IP and port to listen on; required.
	Address netip.AddrPort `toml:"address"`
	// TLS is none, optional, required or implicit. Default: none.
	TLS TLSMode `toml:"tls"`
	// Certificate is the PEM file with the chain, leaf first; needed unless TLS
	// is none. Read again when it changes.
	Certificate string `toml:"certificate" form:"path"`
	// Key is the PEM file with the private key of Certificate; needed unless TLS is none.
	Key string `toml:"key" form:"path"`
	// Certificates are further pairs, chosen by the name that the client asks for (SNI).
	Certificates []CertificateConfig `toml:"certificates"`
	// ClientCA is a PEM file of authorities; with it a client certificate is
	// asked for and its names can make a client. Empty: no certificate is asked for.
	ClientCA string `toml:"client_ca" form:"path"`
	// TLSMin is the oldest TLS that is spoken: "1.0" and "1.1" also let in cipher suites
	// without forward secrecy and 3DES, never RC4. Never on a listener that takes
	// passwords from outside of loopback and private networks. Default: "1.2".
	TLSMin tlsmin.Version `toml:"tls_min"`
	// MaxConnections at one time, at least 1; over it: 421 4.7.0. Where clients have
	// networks, a tenth of it, at least one, is kept for them, and one client that is known
	// by its address has at most three quarters beside others. Default: 1000.
	MaxConnections int `toml:"max_connections"`
	// MaxConnectionsPerIP at one time, at least 1; an IPv6 /64 counts as one address.
	// Default: 50.
	MaxConnectionsPerIP int `toml:"max_connections_per_ip"`
	// ProxyProtocolFrom are the proxies that must send a PROXY header (v1 or v2);
	// from others none is accepted. Empty: none.
	ProxyProtocolFrom []netip.Prefix `toml:"proxy_protocol_from"`
	// XClientFrom are the peers that may use XCLIENT. Empty: none.
	XClientFrom []netip.Prefix `toml:"xclient_from"`
}

// CertificateConfig is one pair of PEM files, as in ListenerConfig; both are needed.
type CertificateConfig struct {
	Certificate string `toml:"certificate" form:"path"`
	Key         string `toml:"key" form:"path"`
}

// needsTLS reports whether nothing may be sent without TLS.
func (c *ListenerConfig) needsTLS() bool { return c.TLS == TLSRequired || c.TLS == TLSImplicit }

// SetDefaults fills in what the documentation promises.
func (c *ListenerConfig) SetDefaults() {
	c.Protocol = ProtocolSMTP
	c.TLS = TLSNone
	c.TLSMin = tlsmin.V12
	c.MaxConnections = 1000
	c.MaxConnectionsPerIP = 50
}

// Check reports every problem of the table by itself.
func (c *ListenerConfig) Check(report func(key, problem string)) {
	if !c.Address.IsValid() {
		report("address", `missing; write the IP and port to listen on, such as "127.0.0.1:2525"`)
	}
	if c.Protocol == ProtocolLMTP && c.Address.Port() == 25 {
		report("protocol", `"lmtp" is not spoken on port 25 (RFC 2033 s. 5); choose another port, such as 24`)
	}
	if c.TLS != TLSNone && (c.Certificate == "" || c.Key == "") {
		report("certificate", fmt.Sprintf("tls = %q needs certificate and key; name both files or set tls = \"none\"", c.TLS))
	}
	if c.TLS == TLSNone && (c.Certificate != "" || len(c.Certificates) > 0 || c.ClientCA != "") {
		report("tls", `"none" although certificates are named; choose "optional", "required" or "implicit"`)
	}
	if c.TLS == TLSNone && c.TLSMin != "" && c.TLSMin != tlsmin.V12 {
		report("tls_min", `does nothing with tls = "none"; choose "optional", "required" or "implicit"`)
	}
	for i, p := range c.Certificates {
		if p.Certificate == "" || p.Key == "" {
			report(fmt.Sprintf("certificates.%d", i), "certificate or key missing; name both files")
		}
	}
	if c.MaxConnections < 1 {
		report("max_connections", "must be at least 1; leave it out for the default")
	}
	if c.MaxConnectionsPerIP < 1 {
		report("max_connections_per_ip", "must be at least 1; leave it out for the default")
	}
}

// Timeouts is [timeouts]. Each must be over 0.
type Timeouts struct {
	// Greeting bounds the TLS handshake, the PROXY header and the wait for the
	// first command. Default: 1m.
	Greeting time.Duration `toml:"greeting"`
	// Command is the wait for the next command (RFC 5321 s. 4.5.3.2.7). Default: 5m.
	Command time.Duration `toml:"command"`
	// Data is the wait for the next octets of a body. Default: 3m.
	Data time.Duration `toml:"data"`
	// Write is how long a client may leave replies unread. Default: 1m.
	Write time.Duration `toml:"write"`
	// Limiter bounds one decision of the limit store; over it: 451. Default: 250ms.
	Limiter time.Duration `toml:"limiter"`
	// DNS bounds the check of a recipient's domain; over it: no objection. Default: 3s.
	DNS time.Duration `toml:"dns"`
	// Transaction is how long a transaction may go on without RCPT or data, whatever
	// else the client sends; 10s to 1h. Default: 10m.
	Transaction time.Duration `toml:"transaction"`
	// Upstream bounds the wait for the upstream's verdict on MAIL and RCPT. Default: 2m.
	Upstream time.Duration `toml:"upstream"`
	// Forward bounds the handing over of the body, to the upstream's final
	// reply; a little longer than final_timeout of the upstream. A client that
	// leaves meanwhile does not end it. Default: 11m.
	Forward time.Duration `toml:"forward"`
	// Park is how long a body may take before its upstream connection is given
	// back; the envelope is then repeated before the data is sent. Where others
	// wait for a connection it is given back after 250 ms. Default: 20s.
	Park time.Duration `toml:"park"`
	// Shutdown is how long transactions may go on after SIGTERM. Default: 30s.
	Shutdown time.Duration `toml:"shutdown"`
}

// SetDefaults fills in what the documentation promises.
func (t *Timeouts) SetDefaults() {
	*t = Timeouts{
		Greeting: time.Minute, Command: 5 * time.Minute, Data: 3 * time.Minute, Write: time.Minute,
		Limiter: 250 * time.Millisecond, DNS: 3 * time.Second, Upstream: 2 * time.Minute, Forward: 11 * time.Minute,
		Park: 20 * time.Second, Shutdown: 30 * time.Second, Transaction: 10 * time.Minute,
	}
}

// Check reports every duration that is not positive.
func (t *Timeouts) Check(report func(key, problem string)) {
	for key, d := range map[string]time.Duration{
		"greeting": t.Greeting, "command": t.Command, "data": t.Data, "write": t.Write, "limiter": t.Limiter, "dns": t.DNS,
		"upstream": t.Upstream, "forward": t.Forward, "park": t.Park, "shutdown": t.Shutdown,
	} {
		if d <= 0 {
			report(key, "must be longer than nothing; leave it out for the default")
		}
	}
	if t.Transaction < 10*time.Second || t.Transaction > time.Hour {
		report("transaction", "must be 10s to 1h; leave it out for the default")
	}
}

// MessageConfig is [message].
type MessageConfig struct {
	// MaxSize of a message in octets, as the client sends it; exactly this many
	// pass. At least 64KiB. Default: 25MiB.
	MaxSize int64 `toml:"max_size" form:"size"`
	// MaxRecipients of one transaction; further ones get 452 4.5.3. At least 1; RFC 5321
	// s. 4.5.3.1.8 asks for 100 or more. Default: 100.
	MaxRecipients int `toml:"max_recipients"`
	// Newlines is reject or normalize. Default: reject.
	Newlines Newlines `toml:"newlines"`
	// MaxLine is the longest line of a message without its CR LF, in octets;
	// longer: 550 5.5.2. At least 998 (RFC 5322 s. 2.1.1). Default: 64KiB.
	MaxLine int64 `toml:"max_line" form:"size"`
	// MaxHeaderSize of the header block in octets, at least 4KiB; over it: 552 5.3.4.
	// Default: 256KiB.
	MaxHeaderSize int64 `toml:"max_header_size" form:"size"`
	// MaxHeaderFields in the header block, at least 20; over it: 552 5.3.4. Default: 2000.
	MaxHeaderFields int `toml:"max_header_fields"`
	// MaxReceived is the number of Received fields from which on a message is
	// taken for a loop: 554 5.4.6 (RFC 5321 s. 6.3). At least 1. Default: 50.
	MaxReceived int `toml:"max_received"`
	// Memory that one body may take before it goes to an unlinked temporary
	// file, in octets, 0 or more. Default: 1MiB.
	Memory int64 `toml:"memory" form:"size"`
	// MemoryTotal that all messages together may take, in octets, 0 or more; beyond three
	// quarters of it every body goes to its file, and the rest is for headers. A
	// header of over 16 KiB that finds no room there: 452 4.3.1. Default: 64MiB.
	MemoryTotal int64 `toml:"memory_total" form:"size"`
	// CheckRecipientDomain refuses recipients whose domain does not exist (550
	// 5.1.2) or takes no mail (RFC 7505: 556 5.1.10). A fault of DNS never
	// refuses. Default: false.
	CheckRecipientDomain bool `toml:"check_recipient_domain"`
	// MinRate that a body must come in at after its first minute, in octets a
	// second on average; slower: 421 4.4.2. 0: no least rate. Default: 512B.
	MinRate int64 `toml:"min_rate" form:"size"`
}

// SetDefaults fills in what the documentation promises.
func (m *MessageConfig) SetDefaults() {
	*m = MessageConfig{
		MaxSize: 25 << 20, MaxRecipients: 100, Newlines: NewlinesReject, MaxLine: 64 << 10,
		MaxHeaderSize: 256 << 10, MaxHeaderFields: 2000, MaxReceived: 50,
		Memory: 1 << 20, MemoryTotal: 64 << 20, MinRate: 512,
	}
}

// Check reports every number outside its range.
func (m *MessageConfig) Check(report func(key, problem string)) {
	atLeast := func(key string, have, least int64) {
		if have < least {
			report(key, fmt.Sprintf("%d is too small; at least %d", have, least))
		}
	}
	atLeast("max_size", m.MaxSize, 64<<10)
	atLeast("max_recipients", int64(m.MaxRecipients), 1)
	atLeast("max_line", m.MaxLine, 998)
	atLeast("max_header_size", m.MaxHeaderSize, 4<<10)
	atLeast("max_header_fields", int64(m.MaxHeaderFields), 20)
	atLeast("max_received", int64(m.MaxReceived), 1)
	atLeast("memory", m.Memory, 0)
	atLeast("memory_total", m.MemoryTotal, 0)
	atLeast("min_rate", m.MinRate, 0)
}

// SessionConfig is [session]: what one connection may try.
type SessionConfig struct {
	// RefusedRecipients after which the connection ends with 421 4.7.0; each
	// recipient whose message is relayed makes up for one. Default: 100.
	RefusedRecipients int `toml:"refused_recipients"`
	// IdleCommands in a row that lead to no mail (NOOP, RSET, VRFY, EHLO ...)
	// before 421 4.7.0; a refused MAIL and the RSET behind it do not count.
	// Default: 100.
	IdleCommands int `toml:"idle_commands"`
	// Errors (unknown commands, bad syntax, wrong order) before 421 4.7.0. Default: 20.
	Errors int `toml:"errors"`
	// MaxAge of a session; over it the session ends with 421 4.7.0 as soon as no
	// transaction is open. The commands of one transaction, up to its data, may take as long.
	// 1m to 24h. Default: 1h.
	MaxAge time.Duration `toml:"max_age"`
	// MaxMessages is how many MAIL commands, refused ones included, a session may
	// have before it ends in the same way. Default: 1000.
	MaxMessages int `toml:"max_messages"`
}

// SetDefaults fills in what the documentation promises.
func (c *SessionConfig) SetDefaults() {
	*c = SessionConfig{RefusedRecipients: 100, IdleCommands: 100, Errors: 20, MaxAge: time.Hour, MaxMessages: 1000}
}

// Check reports every number outside its range.
func (c *SessionConfig) Check(report func(key, problem string)) {
	if c.MaxAge < time.Minute || c.MaxAge > 24*time.Hour {
		report("max_age", "must be 1m to 24h; leave it out for the default")
	}
	for key, n := range map[string]int{
		"refused_recipients": c.RefusedRecipients, "idle_commands": c.IdleCommands, "errors": c.Errors, "max_messages": c.MaxMessages,
	} {
		if n < 1 {
			report(key, "must be at least 1; leave it out for the default")
		}
	}
}
