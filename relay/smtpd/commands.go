package smtpd

import (
	"bytes"
	"postern/mail"
	"postern/relay/replies"
)

// fail answers a command that was wrong in itself and counts it.
func (s *session) fail(r *mail.Reply) error {
	s.errors++
	if s.errors > s.cfg.Session.Errors {
		s.reply(replies.TooManyErrors())
		return errQuit
	}
	s.reply(r)
	return nil
}

// idled answers a command that leads to no mail and counts it.
func (s *session) idled(r *mail.Reply) error {
	s.idle++
	if s.idle > s.cfg.Session.IdleCommands {
		s.reply(replies.TooManyIdle())
		return errQuit
	}
	s.reply(r)
	return nil
}

// malformed answers a line that is not a command. Behind a BDAT octets follow at
// once whose number cannot be told, so that nothing more is read as commands; nor
// where lines end in LF alone, for then it is not known where the next one begins.
func (s *session) malformed(line []byte, r *mail.Reply) error {
	if startsChunk(line) || hidesChunk(line) || s.ends == endsLF {
		s.reply(r)
		return s.lingerAndQuit()
	}
	return s.fail(r)
}

// outOfPlace answers a command that needs a transaction where there is none.
func (s *session) outOfPlace() error {
	if s.orphans > 0 {
		s.orphans--
		s.reply(replies.MailFirst())
		return nil
	}
	return s.fail(replies.MailFirst())
}

// command carries out one command line.
func (s *session) command(line []byte) error {
	verb, arg, spaced := bytes.Cut(line, []byte{' '})
	name := verbName(verb)
	if hasControl(line) && !(isHelo(name) && s.lenient()) {
		return s.malformed(line, replies.CommandBytes())
	}
	switch name {
	case "BDAT": // whatever the state, its octets must be read
		return s.bdat(string(arg))
	case "DATA":
		s.dataBegan = false
		err := s.dispatch(name, arg, spaced)
		if err == nil && !s.dataBegan && s.buffered() > 0 {
			// No command may stand behind DATA in a group (RFC 2920 s. 3.1), so
			// that this is a message whose sender did not wait for 354.
			return s.lingerAndQuit()
		}
		return err
	}
	return s.dispatch(name, arg, spaced)
}

// verbName is a verb in upper case, "" for one that is longer than any of ours.
func verbName(verb []byte) string {
	var upper [8]byte
	if len(verb) > len(upper) {
		return ""
	}
	for i, c := range verb {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	name := upper[:len(verb)]
	switch string(name) { // without an allocation
	case "MAIL":
		return "MAIL"
	case "RCPT":
		return "RCPT"
	case "DATA":
		return "DATA"
	case "BDAT":
		return "BDAT"
	}
	return string(name)
}

// dispatch carries out every command but BDAT, unless it may not be given here.
func (s *session) dispatch(name string, arg []byte, spaced bool) error {
	if out, err := s.barred(name, arg, spaced); out {
		return err
	}
	return s.carryOut(name, arg)
}

// barred answers a command that no state of this session allows now: between chunks, of
// another protocol, before TLS, or with an argument that it does not take.
func (s *session) barred(name string, arg []byte, spaced bool) (out bool, err error) {
	if s.tx != nil && s.tx.chunked != nil {
		if r := s.betweenChunks(name); r != nil {
			return true, s.fail(r)
		}
	}
	if isHTTP(name) {
		s.reply(replies.NotSMTP())
		return true, errQuit
	}
	if s.set.cfg.needsTLS() && !s.peer.TLS.On() && !allowedBeforeTLS[name] {
		if s.tx != nil { // begun before a reload
			return true, s.endTransaction(s.tx.Break("listener", replies.TLSFirst()))
		}
		return true, s.fail(replies.TLSFirst())
	}
	if spaced && isBare(name) && len(bytes.TrimSpace(arg)) > 0 {
		return true, s.fail(replies.Syntax(name))
	}
	return false, nil
}

// carryOut carries out one that is in its place.
func (s *session) carryOut(name string, arg []byte) error {
	switch name {
	case "HELO", "EHLO", "LHLO":
		if (name == "LHLO") != s.peer.LMTP {
			return s.fail(replies.UnknownCommand()) // RFC 2033 s. 4.1
		}
		return s.helo(name, string(arg))
	case "MAIL":
		return s.mail(string(arg))
	case "RCPT":
		return s.rcpt(string(arg))
	case "DATA":
		return s.data()
	case "RSET":
		return s.rset()
	case "NOOP":
		return s.idled(replies.OK())
	case "QUIT":
		return s.quit()
	case "STARTTLS":
		return s.startTLS()
	case "AUTH":
		return s.auth(string(arg))
	case "VRFY":
		return s.idled(replies.Vrfy())
	case "HELP":
		return s.idled(replies.Help())
	case "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML":
		return s.fail(replies.NotImplemented())
	case "XCLIENT":
		return s.xclient(string(arg))
	case "XFORWARD":
		return s.xforward(string(arg))
	}
	return s.fail(replies.UnknownCommand())
}

// allowedBeforeTLS are the commands that RFC 3207 s. 4 leaves to a server that
// requires TLS.
var allowedBeforeTLS = map[string]bool{"EHLO": true, "HELO": true, "LHLO": true, "STARTTLS": true, "NOOP": true, "QUIT": true, "XCLIENT": true}

func isHelo(verb string) bool { return verb == "EHLO" || verb == "HELO" }

// isBare reports whether a command takes no argument.
func isBare(verb string) bool {
	switch verb {
	case "DATA", "RSET", "QUIT", "STARTTLS":
		return true
	}
	return false
}

func isHTTP(verb string) bool {
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI":
		return true
	}
	return false
}

func hasControl(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func (s *session) rset() error {
	s.abort()
	s.unforward()
	s.chunksFailed = false
	if s.excused {
		s.excused = false
		s.reply(replies.OK())
		return nil
	}
	return s.idled(replies.OK())
}

func (s *session) quit() error {
	s.abort()
	s.reply(replies.Bye())
	return errQuit
}
