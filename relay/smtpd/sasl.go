package smtpd

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// mechanisms lists what AUTH takes in this session as it stands. Passwords
// travel only under TLS, or on a listener that the network does not reach and
// whose tls is not required.
func (s *session) mechanisms() (m []string) {
	if s.cfg.Auth != nil && s.passwordsSafe() && s.cfg.Rules.MayAuth(&s.peer) {
		m = append(m, "PLAIN", "LOGIN")
	}
	if len(s.peer.Certificates) > 0 {
		m = append(m, "EXTERNAL")
	}
	return m
}

func (s *session) passwordsSafe() bool {
	return s.peer.TLS.On() || !s.set.cfg.needsTLS() && s.set.cfg.Address.Addr().IsLoopback()
}

// auth carries out AUTH (RFC 4954).
func (s *session) auth(arg string) error {
	f := strings.Fields(arg)
	switch {
	case s.peer.Helo == "", !s.peer.ESMTP && !s.lenient():
		return s.fail(s.helloFirst())
	case s.tx != nil:
		return s.fail(replies.InTransaction())
	case s.peer.User != "" || s.external:
		return s.fail(replies.AuthDone())
	case len(f) == 0 || len(f) > 2:
		return s.fail(replies.Syntax("AUTH mechanism [initial-response]"))
	}
	if !s.peer.ESMTP {
		s.spared = cmp.Or(s.spared, s.helloFirst())
	}
	offered := s.mechanisms()
	name := strings.ToUpper(f[0])
	if !slices.Contains(offered, name) {
		switch {
		case s.cfg.Auth != nil && !s.passwordsSafe():
			return s.fail(replies.AuthTLS())
		case len(offered) == 0:
			return s.fail(replies.AuthNotOffered())
		}
		return s.fail(replies.AuthMechanism())
	}
	var initial []byte
	if len(f) == 2 {
		initial = []byte(f[1])
	}
	switch name {
	case "PLAIN":
		return s.authPlain(initial)
	case "LOGIN":
		return s.authLogin(initial)
	}
	return s.authExternal(initial)
}

// respond gives a challenge and reads the decoded response, unless the command
// brought one. A nil response means that a reply has been given.
func (s *session) respond(initial []byte, challenge string) ([]byte, error) {
	line := initial
	if line == nil {
		s.reply(replies.Challenge(base64.StdEncoding.EncodeToString([]byte(challenge))))
		var err error
		line, err = s.line()
		switch {
		case errors.Is(err, errLineTooLong), errors.Is(err, errBareLF):
			return nil, s.malformed(line, replies.AuthDecode())
		case err != nil:
			return nil, err
		case string(line) == "*":
			return nil, s.fail(replies.AuthCancelled())
		}
	} else if string(line) == "=" {
		line = []byte{}
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Decode(out, line)
	if err != nil {
		return nil, s.fail(replies.AuthDecode())
	}
	return out[:n], nil
}

// authPlain is RFC 4616: authorization identity, NUL, user, NUL, password.
func (s *session) authPlain(initial []byte) error {
	r, err := s.respond(initial, "")
	if r == nil {
		return err
	}
	parts := bytes.Split(r, []byte{0})
	if len(parts) != 3 {
		return s.fail(replies.AuthDecode())
	}
	if len(parts[0]) > 0 && syntax.User(string(parts[0])) != syntax.User(string(parts[1])) {
		return s.authFailed(0) // acting for others is nobody's right here
	}
	return s.password(string(parts[1]), string(parts[2]))
}

// authLogin is the LOGIN mechanism of old clients.
func (s *session) authLogin(initial []byte) error {
	user, err := s.respond(initial, "Username:")
	if user == nil {
		return err
	}
	password, err := s.respond(nil, "Password:")
	if password == nil {
		return err
	}
	return s.password(string(user), string(password))
}

// authExternal is RFC 4422 appendix A: the client certificate, already
// verified, names the client.
func (s *session) authExternal(initial []byte) error {
	r, err := s.respond(initial, "")
	if r == nil {
		return err
	}
	if len(r) > 0 && !slices.Contains(s.peer.Certificates, string(r)) {
		return s.authFailed(0)
	}
	s.external = true
	s.reply(replies.AuthOK())
	return nil
}

func (s *session) password(user, password string) error {
	user = syntax.User(user)
	v, err := s.cfg.Auth.Verify(s.ctx, s.peer.Addr.Addr(), user, password)
	if v.Fault != nil {
		s.srv.opt.Fault("auth", v.Fault)
	}
	switch {
	case err != nil:
		s.srv.opt.Fault("auth", err)
		s.reply(replies.AuthUnavailable())
		return nil
	case v.Suspended > 0:
		return s.authSuspended(v.Suspended)
	case !v.OK:
		return s.authFailed(v.Wait)
	}
	if rule, r := s.srv.opt.Suspended(user); r != nil {
		s.authEvent(user, mail.Deferred, rule, r)
		return s.fail(r)
	}
	s.peer.User, s.stamp = user, s.cfg.Auth.Stamp(user)
	s.reply(replies.AuthOK())
	return nil
}

// authEvent records a failed authentication. A name that was merely tried stays
// out of it, user is "" then: people type passwords there.
func (s *session) authEvent(user, outcome, rule string, r *mail.Reply) {
	now := time.Now()
	s.srv.opt.Observe(&mail.Event{
		Time: now, ID: mail.NewID(now), Listener: s.lis.name, ClientIP: mail.AddrText(s.peer.Addr.Addr()), Helo: s.peer.Helo, User: user,
		TLS: s.peer.TLS.Version, Stage: mail.StageAuth, Outcome: outcome, Code: r.Code, Status: r.Status, Rule: rule,
		Reply: r.String(), To: []mail.RecipientEvent{},
	})
}

// authSuspended ends a session from an address that has guessed too often,
// whatever it has sent.
func (s *session) authSuspended(left time.Duration) error {
	r := replies.AuthSuspended(left)
	s.authEvent("", mail.Deferred, "auth suspend_after", r)
	s.reply(r)
	return errQuit
}

// certificateFailures is how often EXTERNAL may fail where there are no
// passwords, and so no [auth] failures.
const certificateFailures = 3

// authFailed makes the peer wait and closes after a few failures.
func (s *session) authFailed(wait time.Duration) error {
	s.authEvent("", mail.Rejected, "password", replies.AuthFailed())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		return errQuit
	}
	s.reply(replies.AuthFailed())
	s.authFailures++
	most := certificateFailures
	if s.cfg.Auth != nil {
		most = s.cfg.Auth.Failures()
	}
	if s.authFailures >= most {
		s.reply(replies.TooManyAuth())
		return errQuit
	}
	return nil
}
