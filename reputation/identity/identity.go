package identity

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"postern/internal/shell"
	"postern/internal/text"
)

// Presence is what the preflight checks compare with the world: all that the world
// sees of us. Domains are in lower-case A-labels without a final dot.
type Presence struct {
	Hostname     string
	Streams      []StreamIdentity
	Domains      []DomainIdentity
	Keys         []KeyIdentity
	Upstreams    []UpstreamIdentity
	Certificates []CertificateIdentity // ours
}

// StreamIdentity is one stream as receivers see it.
type StreamIdentity struct {
	Name string
	EHLO string
	// Addresses are its public ones. Empty: not known, which is a finding unless
	// Silent.
	Addresses []netip.Addr
	// Silent: nothing leaves by it.
	Silent bool
	// Clients that send by it, each a name in the configuration.
	Clients []string
	// OnListing is what a listing does to it.
	OnListing Action
}

// DomainIdentity is a domain that clients send as.
type DomainIdentity struct {
	Name string
	// Below stands for all domains below Name, and not for Name itself.
	Below bool
	// Senders are the local-parts that clients own one by one, and Open says that
	// they own all others, too. Neither: nothing is known, as with Open.
	Senders []string
	Open    bool
	// Streams by which its mail leaves.
	Streams []string
	// Clients that send as it.
	Clients []string
	// SignedBy is the domain of the DKIM keys that sign for it (d=); "" for none.
	SignedBy string
}

// KeyIdentity is one DKIM key that we sign with.
type KeyIdentity struct {
	Domain, Selector string
	// Type is "rsa" or "ed25519", Bits the size of an RSA key.
	Type string
	Bits int
	// Public is the public key in base64 as it stands in the record: a
	// SubjectPublicKeyInfo for RSA, the 32 octets for Ed25519.
	Public string
	// Record is the whole TXT value to publish.
	Record string
	// RequirePublished is as in the configuration: warn, skip or defer.
	RequirePublished string
	// Rotate is the command that makes the next key. Blank: one that finds its
	// configuration by itself.
	Rotate string
}

func (k *KeyIdentity) rotate() string {
	return cmp.Or(k.Rotate, shell.Command("relay", "dkim", "rotate", k.Domain))
}

// UpstreamIdentity is one host that mail is handed to.
type UpstreamIdentity struct {
	Name string // in the configuration
	Host string // name or address
	Port int
	// System looks up the host as connections to it do, for names that DNS does
	// not know, as those of /etc/hosts. nil: DNS only.
	System func(ctx context.Context, host string) ([]netip.Addr, error)
	// Probe returns the certificate that the host shows at one of its
	// addresses. nil: it is not looked at. An error means that the host did not
	// answer.
	Probe func(ctx context.Context, addresses []netip.Addr) (CertificateView, error)
}

// CertificateView is a certificate as a client sees it.
type CertificateView struct {
	Leaf *x509.Certificate // nil: the host offered no TLS
	// Problem says why it would not be accepted; "" where it would.
	Problem string
}

// CertificateIdentity is a certificate of ours.
type CertificateIdentity struct {
	Where string // "listener mta"
	Leaf  *x509.Certificate
	Err   error // why it could not be read
}

// KeyState is what DNS says about a DKIM key.
type KeyState int

// States of a key.
const (
	KeyUnknown     KeyState = iota // DNS did not answer
	KeyPublished                   // published and right
	KeyUnpublished                 // missing, revoked, or another key
)

// certificateDays is for how long a certificate must still hold.
const certificateDays = 14 * 24 * time.Hour

// Action is what a new listing does to a stream (key on_listing). The zero
// value is Alert.
type Action string

// Actions on a listing.
const (
	Alert          Action = "alert"           // tell, change nothing
	SuspendSuspect Action = "suspend_suspect" // suspend a sender that stands out
	PauseStream    Action = "pause_stream"    // defer the stream's mail with 450
)

// UnmarshalText takes one of the three words.
func (a *Action) UnmarshalText(b []byte) error {
	return text.OneOf(a, b, Alert, SuspendSuspect, PauseStream)
}

// MarshalText returns the form in the file.
func (a Action) MarshalText() ([]byte, error) {
	if a == "" {
		a = Alert
	}
	return []byte(a), nil
}
