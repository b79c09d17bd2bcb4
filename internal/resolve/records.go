package resolve

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Addresses returns those of the A and AAAA records.
func Addresses(rrs []dns.RR) []netip.Addr {
	var as []netip.Addr
	for _, rr := range rrs {
		var ip []byte
		switch v := rr.(type) {
		case *dns.A:
			ip = v.A.To4()
		case *dns.AAAA:
			ip = v.AAAA.To16()
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			as = append(as, a)
		}
	}
	return as
}

// Texts returns the TXT records, the strings of each joined (RFC 7208 s. 3.3).
func Texts(rrs []dns.RR) []string {
	var ts []string
	for _, rr := range rrs {
		if v, ok := rr.(*dns.TXT); ok {
			ts = append(ts, unescape(strings.Join(v.Txt, "")))
		}
	}
	return ts
}

// Exchangers returns the MX records, the most preferred first.
func Exchangers(rrs []dns.RR) []*dns.MX {
	var mxs []*dns.MX
	for _, rr := range rrs {
		if m, ok := rr.(*dns.MX); ok {
			mxs = append(mxs, m)
		}
	}
	slices.SortStableFunc(mxs, func(a, b *dns.MX) int { return int(a.Preference) - int(b.Preference) })
	return mxs
}

// IsNullMX reports whether a domain says by its MX that it takes no mail (RFC 7505).
func IsNullMX(mxs []*dns.MX) bool { return len(mxs) == 1 && mxs[0].Mx == "." }

// unescape undoes the presentation form in which the library holds the strings
// of a TXT record: \" \\ and \DDD.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case i+3 < len(s) && IsDigit(s[i+1]) && IsDigit(s[i+2]) && IsDigit(s[i+3]):
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}

func IsDigit(c byte) bool { return c >= '0' && c <= '9' }
