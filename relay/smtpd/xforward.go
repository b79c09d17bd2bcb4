package smtpd

import (
	"net/netip"
	"strings"

	"postern/relay/replies"
)

// xforward takes what a client says of its own client for the next MAIL: the address,
// from which nothing follows but what the message counts for. It is for clients whose
// table has "xforward" in submitter.
func (s *session) xforward(arg string) error {
	switch {
	case !s.cfg.Rules.XForward(&s.peer):
		return s.fail(replies.XForwardRefused())
	case s.tx != nil:
		return s.fail(replies.InTransaction())
	}
	addr, told := s.peer.Forwarded, s.forwardedAddrs
	attrs := strings.Fields(arg)
	for _, attr := range attrs {
		name, value, ok := strings.Cut(attr, "=")
		if value, ok = xforwardValue(strings.ToUpper(name), value, ok); !ok {
			return s.fail(replies.Syntax("XFORWARD attribute=value ..."))
		}
		if !strings.EqualFold(name, "ADDR") {
			continue
		}
		addr, ok = forwardedAddr(value)
		if !ok {
			return s.fail(replies.Syntax("XFORWARD attribute=value ..."))
		}
		if told++; told > 1 { // what is told twice is not told
			addr = netip.Addr{}
		}
	}
	if len(attrs) == 0 {
		return s.fail(replies.Syntax("XFORWARD attribute=value ..."))
	}
	s.peer.Forwarded, s.forwardedAddrs = addr, told
	if s.forwarded { // for the same MAIL: that leads nowhere
		return s.idled(replies.OK())
	}
	s.forwarded = true
	s.reply(replies.OK())
	return nil
}

// xforwardValue decodes the value of an attribute; false for one that is not known.
func xforwardValue(name, value string, ok bool) (string, bool) {
	switch name {
	case "NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE":
	default:
		return "", false
	}
	value, decoded := decodeXtext(value)
	return value, ok && decoded && value != ""
}

// forwardedAddr reads ADDR; the zero address where the client does not know it.
func forwardedAddr(value string) (netip.Addr, bool) {
	if value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]" {
		return netip.Addr{}, true
	}
	addr, err := netip.ParseAddr(strings.TrimPrefix(strings.ToUpper(value), "IPV6:"))
	return addr.Unmap().WithZone(""), err == nil
}

// unforward forgets what XFORWARD has told.
func (s *session) unforward() {
	s.peer.Forwarded, s.forwarded, s.forwardedAddrs = netip.Addr{}, false, 0
}
