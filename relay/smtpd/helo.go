package smtpd

import (
	"strconv"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// helo answers HELO and EHLO (RFC 5321 s. 4.1.1.1). Both end a transaction.
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
	s.spared = odd
	s.peer.Helo, s.peer.ESMTP = arg, verb == "EHLO"
	if !s.peer.ESMTP {
		return s.idled(replies.Helo(s.cfg.Hostname))
	}
	return s.idled(&mail.Reply{Code: 250, Text: s.cfg.Hostname + "\n" + strings.Join(s.extensions(), "\n")})
}

// extensions are the EHLO keywords of this session as it stands.
func (s *session) extensions() []string {
	ext := []string{
		"PIPELINING",
		"SIZE " + strconv.FormatInt(s.cfg.Message.MaxSize, 10),
		"8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING",
		"LIMITS RCPTMAX=" + strconv.Itoa(s.cfg.Message.MaxRecipients), // RFC 9422
	}
	if s.set.tls != nil && !s.peer.TLS.On() {
		ext = append(ext, "STARTTLS")
	}
	if s.peer.TLS.On() {
		ext = append(ext, "REQUIRETLS") // RFC 8689 s. 2: only under TLS
	}
	if m := s.mechanisms(); len(m) > 0 {
		ext = append(ext, "AUTH "+strings.Join(m, " "))
	}
	if s.trusted {
		ext = append(ext, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	}
	return ext
}
