package ratelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"postern/mail"
)

// Facts are what limits can see of a transaction. User is a mail.User,
// SenderDomain the domain of Sender ("" for null); ClientIP and SourceIP are
// addresses in text form. Empty means that the mail has no such thing.
type Facts struct {
	Client, User, ClientIP     string
	Sender                     mail.Identity
	SenderDomain               string
	Stream, Upstream, SourceIP string
}

// Recipient is one RCPT: Domain is its domain in lower-case A-labels, "" for the
// bare <postmaster>.
type Recipient struct {
	Address mail.RecipientID
	Domain  string
}

// Values that stand for a key where there is no name. None can be a name: "<"
// and ">" occur in no client, address or domain.
const (
	nullSender     = string(mail.NullSender)
	noClient       = "<none>"
	barePostmaster = "<postmaster>"
)

// value is what the mail has for d; "" means absent. Recipient domains are not
// looked up here.
func (f *Facts) value(d Dimension) string {
	switch d {
	case PerAll:
		return "all"
	case PerClient:
		if f.Client == "" {
			return noClient
		}
		return f.Client
	case PerUser:
		return f.User
	case PerClientIP:
		return f.ClientIP
	case PerSender:
		if f.Sender == "" {
			return nullSender
		}
		return string(f.Sender)
	case PerSenderDomain:
		if f.SenderDomain == "" {
			return nullSender
		}
		return f.SenderDomain
	case PerStream:
		return f.Stream
	case PerUpstream:
		return f.Upstream
	case PerSourceIP:
		return f.SourceIP
	}
	return ""
}

// appendPart appends "name=value", after a space unless it is the first of the
// key that began at start.
//
// A key is a list of such parts, in the order of the Dimensions, and "all"
// alone. It is unambiguous whatever a peer writes: a value with a space, a
// control octet, a quote or a backslash is written in quotes with those octets
// escaped, so a space always ends a part and the first "=" ends its name.
func appendPart(b []byte, start int, d Dimension, value string) []byte {
	if len(b) > start {
		b = append(b, ' ')
	}
	if d == PerAll {
		return append(b, "all"...)
	}
	b = append(b, dimensionNames[d]...)
	b = append(b, '=')
	if d == PerClientIP {
		return appendClientIP(b, value)
	}
	return appendValue(b, value)
}

// maxValue is the longest value that a key holds as it is. No address is as
// long (RFC 5321 s. 4.5.3.1); what is, is told apart by its hash.
const maxValue = 512

func appendValue(b []byte, value string) []byte {
	if len(value) > maxValue {
		sum := sha256.Sum256([]byte(value))
		value = value[:maxValue/2] + "~" + hex.EncodeToString(sum[:])
	}
	if isPlain(value) {
		return append(b, value...)
	}
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c <= ' ' || c == 0x7f:
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func isPlain(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c == 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return value != ""
}

// appendClientIP writes an IPv4 address as it is and an IPv6 address as its
// /64, the least that one customer holds.
func appendClientIP(b []byte, text string) []byte {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return appendValue(b, text)
	}
	return appendNetwork(b, addr)
}

func appendNetwork(b []byte, addr netip.Addr) []byte {
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.AppendTo(b)
	}
	network, _ := addr.Prefix(64) // 64 is within an IPv6 address
	return network.AppendTo(b)
}

// part is one dimension of a parsed key.
type part struct {
	d     Dimension
	value string
}

// parseKey reads what appendPart wrote.
func parseKey(key string) (parts []part, ok bool) {
	if key == "all" {
		return []part{{PerAll, "all"}}, true
	}
	for text := range strings.SplitSeq(key, " ") {
		name, value, found := strings.Cut(text, "=")
		var d Dimension
		if !found || d.UnmarshalText([]byte(name)) != nil {
			return nil, false
		}
		if value, ok = parseValue(value); !ok {
			return nil, false
		}
		parts = append(parts, part{d, value})
	}
	return parts, true
}

func parseValue(text string) (string, bool) {
	if !strings.HasPrefix(text, `"`) {
		return text, isPlain(text)
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return "", false
	}
	text = text[1 : len(text)-1]
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		i++
		switch {
		case i < len(text) && (text[i] == '"' || text[i] == '\\'):
			b = append(b, text[i])
		case i+2 < len(text) && text[i] == 'x':
			high, low := strings.IndexByte("0123456789abcdef", text[i+1]), strings.IndexByte("0123456789abcdef", text[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b = append(b, byte(high<<4|low))
			i += 2
		default:
			return "", false
		}
	}
	return string(b), true
}
