package smtpd

import (
	"strconv"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// helo answers HELO and EHLO (RFC 5321 s. 4.1.1.1), or LHLO (RFC 2033 s. 4.1). All end
// a transaction.
func (s *session) helo(verb, arg string) error {
	arg = strings.TrimRight(arg, " ")
	var odd *mail.Reply
	if syntax.Helo(arg) != nil {
		odd = replies.HeloSyntax()
		var err error
		if arg, err = syntax.LenientHelo(arg); err != nil || !s.lenient() {
			return s.fail(odd)
		}
	}
	s.abort()
	s.unforward()
	s.spared = odd
	s.peer.Helo, s.peer.ESMTP, s.dsn = arg, verb != "HELO", false
	if !s.peer.ESMTP {
		return s.idled(replies.Helo(s.cfg.Hostname))
	}
	return s.idled(&mail.Reply{Code: 250, Text: s.cfg.Hostname + "\n" + strings.Join(s.extensions(), "\n")})
}

// extensions are the EHLO keywords of this session as it stands; it notes whether
// DSN is among them.
func (s *session) extensions() []string {
	ext := []string{
		"PIPELINING",
		"SIZE " + strconv.FormatInt(s.cfg.Message.MaxSize, 10),
		"8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING",
		"LIMITS RCPTMAX=" + strconv.Itoa(s.cfg.Message.MaxRecipients), // RFC 9422
	}
	mechanisms := s.mechanisms()
	if s.dsn = s.srv.opt.DSN != nil && s.srv.opt.DSN(&s.peer, len(mechanisms) > 0); s.dsn {
		ext = append(ext, "DSN")
	}
	if s.set.tls != nil && !s.peer.TLS.On() {
		ext = append(ext, "STARTTLS")
	}
	if s.peer.TLS.On() {
		ext = append(ext, "REQUIRETLS") // RFC 8689 s. 2: only under TLS
	}
	if len(mechanisms) > 0 {
		ext = append(ext, "AUTH "+strings.Join(mechanisms, " "))
	}
	if s.trusted {
		ext = append(ext, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	}
	if s.cfg.Rules.XForward(&s.peer) {
		ext = append(ext, "XFORWARD ADDR")
	}
	return ext
}
