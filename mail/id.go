package mail

import (
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID makes the ID of an event, 18 lower-case letters and digits: its time in
// milliseconds and 40 random bits. So the IDs sort by time, and those of several relays do
// not collide. An ID is not a secret.
func NewID(now time.Time) string {
	var b [14]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	binary.BigEndian.PutUint64(b[6:], rand.Uint64()) // which is seeded at random
	var text [18]byte
	idEncoding.Encode(text[:], b[:11])
	return string(text[:])
}

// Site is what counts as one address of a peer: an IPv4 address or an IPv6 /64, which most
// often is one customer. The zone is dropped. The zero Addr gives the zero Prefix. The
// caller unmaps an IPv4-mapped address; as it is, it counts as IPv6.
func Site(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}

// AddrText writes an address as events have it: "" for the zero Addr, which stands for a
// peer whose address the proxy in front of us does not know.
func AddrText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}
