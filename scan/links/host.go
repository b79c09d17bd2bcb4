package links

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// lookup maps names as browsers do (UTS #46, not transitional).
func lookup() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))
}

// maxHost is the length up to which octets are taken for a host: encoded, it is
// longer than a name may be.
const maxHost = 1 << 10

// authority cuts what stands behind "://" up to the end of the host.
func authority(v []byte) []byte {
	end := len(v)
	for i, c := range v[:min(len(v), maxHost)] {
		if c <= ' ' || bytes.IndexByte([]byte(`/?#\"'<>(){}|^`+"`,;"), c) >= 0 {
			end = i
			break
		}
	}
	v = v[:min(end, maxHost)]
	if i := bytes.LastIndexByte(v, '@'); i >= 0 {
		v = v[i+1:]
	}
	return v
}

// hostOf is the host of an authority in the one form in which lists have it: a name
// in A-labels, or an address; "" where it is neither.
func hostOf(v string) string {
	if strings.Contains(v, "%") {
		v = unescape(v)
	}
	if strings.HasPrefix(v, "[") {
		v, _, _ = strings.Cut(v[1:], "]")
		if a, err := netip.ParseAddr(v); err == nil {
			return a.Unmap().WithZone("").String()
		}
		return ""
	}
	v, _, _ = strings.Cut(v, ":")
	v = strings.Trim(v, ".!*_~&$+= \t")
	if v == "" || len(v) > maxHost {
		return ""
	}
	name, err := lookup().ToASCII(v)
	if err != nil {
		name = strings.ToLower(v) // as odd as it is, a browser may look it up
	}
	name = strings.Trim(name, ".")
	if a, ok := oldAddress(name); ok {
		return a.String()
	}
	if len(name) > 253 || !strings.Contains(name, ".") || strings.ContainsFunc(name, notInName) {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return ""
		}
	}
	if strings.Trim(name[strings.LastIndexByte(name, '.')+1:], "0123456789") == "" {
		return "" // an address that is none
	}
	return name
}

func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
}

// oldAddress reads an IPv4 address in all the forms that browsers take: of one to
// four numbers, decimal, octal or hexadecimal.
func oldAddress(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 0, 32)
		last := i == len(parts)-1
		room := uint64(1) << 8
		if last {
			room = 1 << (8 * (5 - len(parts)))
		}
		if err != nil || strings.Contains(p, "_") || n >= room {
			return netip.Addr{}, false
		}
		if last {
			all = all<<(8*(5-len(parts))) | n
		} else {
			all = all<<8 | n
		}
	}
	return netip.AddrFrom4([4]byte{byte(all >> 24), byte(all >> 16), byte(all >> 8), byte(all)}), true
}

func unescape(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if c, err := strconv.ParseUint(v[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// isAddress reports whether a host is an address, about which domain lists say
// nothing.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// registered is the domain of a host under which its owner registered it; the host
// itself where that cannot be said.
func registered(host string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

// isDomain reports whether a word of a text is a host, so that a mail program may
// make a link of it: its last label is a top-level domain.
func isDomain(host string) bool {
	suffix, icann := publicsuffix.PublicSuffix(host)
	return (icann || strings.Contains(suffix, ".")) && len(host) > len(suffix)
}

// within reports whether a host is one of the domains, or below one.
func within(host string, domains map[string]bool) bool {
	for rest, ok := host, true; ok; _, rest, ok = strings.Cut(rest, ".") {
		if domains[rest] {
			return true
		}
	}
	return false
}
