package smtpd

import (
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// xclient takes what a trusted front end (Postfix, nginx) says about the real
// client. The session then starts anew, as after a fresh connection.
func (s *session) xclient(arg string) error {
	switch {
	case !s.trusted:
		return s.fail(replies.XClientRefused())
	case s.tx != nil:
		return s.fail(replies.InTransaction())
	}
	attrs := strings.Fields(arg)
	if len(attrs) == 0 {
		return s.fail(replies.Syntax("XCLIENT attribute=value ..."))
	}
	// A certificate is the front end's, not the client's.
	next := s.peer
	next.Helo, next.ESMTP, next.User, next.Certificates = "", false, "", nil
	for _, attr := range attrs {
		name, value, ok := strings.Cut(attr, "=")
		if !ok || !applyXClient(&next, strings.ToUpper(name), value) {
			return s.fail(replies.Syntax("XCLIENT attribute=value ..."))
		}
	}
	if next.Helo != "" && syntax.Helo(next.Helo) != nil {
		name, err := syntax.LenientHelo(next.Helo)
		if err != nil || !s.cfg.Rules.LenientTo(&next) {
			return s.fail(replies.Syntax("XCLIENT attribute=value ..."))
		}
		next.Helo = name
	}
	if !s.moveIP(next.Addr.Addr()) {
		s.reply(replies.TooManyConnections())
		return errQuit
	}
	s.peer, s.external, s.stamp, s.strangerMails, s.renamed = next, false, "", 0, true
	if !s.recount(s.cfg.Rules.InNetworks(&s.peer)) || !s.moveClient() {
		s.reply(replies.TooManyConnections())
		return errQuit
	}
	s.dsn = false
	s.unforward()
	s.reply(s.greeting())
	return nil
}

// moveIP counts the connection on another client address; false when that one
// has too many.
func (s *session) moveIP(to netip.Addr) bool {
	if to == s.countedIP {
		return true
	}
	if !s.lis.caps.enterIP(to) {
		return false
	}
	s.lis.caps.leaveIP(s.countedIP)
	s.countedIP = to
	return true
}

// moveClient counts the connection for the client that the peer is by its address;
// false when that one has too many.
func (s *session) moveClient() bool {
	to := s.cfg.Rules.ByAddress(&s.peer)
	if to == s.countedFor {
		return true
	}
	if !s.lis.caps.enterClient(to) {
		return false
	}
	s.lis.caps.leaveClient(s.countedFor)
	s.countedFor = to
	return true
}

func applyXClient(p *mail.Peer, name, value string) bool {
	value, ok := decodeXtext(value)
	if !ok {
		return false
	}
	unknown := value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]"
	switch name {
	case "ADDR":
		if unknown { // no address at all, which is in nobody's network
			p.Addr = netip.AddrPort{}
			break
		}
		addr, err := netip.ParseAddr(strings.TrimPrefix(strings.ToUpper(value), "IPV6:"))
		if err != nil {
			return false
		}
		if p.Addr = netip.AddrPortFrom(addr.Unmap().WithZone(""), p.Addr.Port()); addr.Unmap().IsUnspecified() {
			p.Addr = netip.AddrPort{}
		}
	case "PORT":
		if unknown {
			break
		}
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return false
		}
		p.Addr = netip.AddrPortFrom(p.Addr.Addr(), uint16(port))
	case "HELO":
		if unknown {
			break
		}
		if p.Helo = value; value == "" {
			return false
		}
	case "PROTO":
		p.ESMTP = strings.EqualFold(value, "ESMTP")
	case "LOGIN":
		if unknown {
			break
		}
		if p.User = syntax.User(value); !mail.IsUserName(p.User) {
			return false
		}
	case "NAME", "DESTADDR", "DESTPORT":
	default:
		return false
	}
	return true
}

// decodeXtext undoes RFC 3461 s. 4 encoding; the result holds no controls.
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c, i = byte(v), i+2
		}
		if c < ' ' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}
