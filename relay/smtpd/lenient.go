package smtpd

import (
	"postern/mail"
	"postern/relay/replies"
)

// lenient reports whether the peer may use the forms of devices that cannot be
// mended.
func (s *session) lenient() bool { return s.cfg.Rules.LenientTo(&s.peer) }

// lenientNow is lenient while a line is waited for, in which time the rules may change.
func (s *session) lenientNow() bool { return s.srv.opt.Settings().Rules.LenientTo(&s.peer) }

// unforgiven is the refusal of a client that is not lenient, and has come this far by
// a form that is let pass only since its address may be a lenient client's; nil for
// others.
func (s *session) unforgiven() *mail.Reply {
	r := s.spared
	if s.ends == endsLF {
		r = replies.CommandNewline()
	}
	if r == nil {
		return nil
	}
	if c, refusal := s.cfg.Rules.Client(&s.peer); refusal != nil || c.Lenient() {
		return nil
	}
	return r
}
