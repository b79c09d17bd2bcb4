package mail

import "net/netip"

// Peer is the other end of a connection, not yet judged. The session fills it in as it goes
// on; policy reads it and never changes it. It is not safe for concurrent use.
type Peer struct {
	Addr     netip.AddrPort // of the peer, after PROXY or XCLIENT; zero where a proxy does not know it
	Local    netip.AddrPort // of our end
	Listener string         // name in the configuration
	Helo     string         // argument of HELO, EHLO or LHLO, checked by syntax; "" before it
	ESMTP    bool           // EHLO or LHLO rather than HELO
	LMTP     bool           // of a listener that speaks LMTP (RFC 2033)
	TLS      TLS
	// User is the SASL user whose password has been verified, in the form that func User
	// returns; "" without one.
	User string
	// Forwarded is the address of the peer's own client, which XFORWARD has told for
	// the next MAIL; invalid where it has not. It is a hint and grants nothing.
	Forwarded netip.Addr
	// Certificates are the verified names (SAN) of the client's certificate;
	// nil unless it was verified against the listener's client_ca.
	Certificates []string
}

// TLS describes the session's encryption; the zero value is plain text.
type TLS struct {
	Version string // "TLSv1.3"
	Cipher  string // "TLS_AES_128_GCM_SHA256"
	Name    string // server name that the client asked for (SNI)
}

// On reports whether the session is encrypted.
func (t TLS) On() bool { return t.Version != "" }

// Body values of the MAIL parameter BODY (RFC 6152, RFC 3030).
const (
	Body7Bit   = "7BIT"
	Body8Bit   = "8BITMIME"
	BodyBinary = "BINARYMIME"
)

// Envelope is what MAIL and RCPT said (RFC 5321 s. 2.3.1), and who the client was.
type Envelope struct {
	Client string // the configured client whose mail it is; "": the relay itself
	From   Address
	Size   int64  // SIZE parameter in octets (RFC 1870); 0: not declared
	Body   string // BODY parameter; "" when not given
	UTF8   bool   // SMTPUTF8 parameter (RFC 6531)
	Ret    string // RET parameter, FULL or HDRS (RFC 3461); "" when not given
	EnvID  string // ENVID parameter as xtext, undecoded; "" when not given
	Auth   string // AUTH parameter (RFC 4954) as xtext, undecoded, never believed; "" when not given
	// RequireTLS is the REQUIRETLS parameter (RFC 8689).
	RequireTLS bool
	To         []Recipient
}

// Recipient is one forward-path with its DSN parameters (RFC 3461).
type Recipient struct {
	Address
	Notify string // NOTIFY parameter as given, checked; "" when not given
	ORcpt  string // ORCPT parameter as given (addr-type;xtext), checked; "" when not given
}
