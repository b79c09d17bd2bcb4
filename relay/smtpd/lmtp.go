package smtpd

import (
	"postern/mail"
	"postern/relay/replies"
)

// LMTP (RFC 2033) is SMTP but for its LHLO and for what comes behind a message: not
// one reply for all, but one for each recipient that was taken, in their order.

func (s *session) greeting() *mail.Reply {
	if s.peer.LMTP {
		return replies.GreetingLMTP(s.cfg.Hostname)
	}
	return replies.Greeting(s.cfg.Hostname)
}

func (s *session) helloFirst() *mail.Reply {
	if s.peer.LMTP {
		return replies.LHLOFirst()
	}
	return replies.HeloFirst()
}

// endMessage is endTransaction behind the message: over LMTP each recipient that
// was taken has its reply, r where the transaction has none of its own for each.
func (s *session) endMessage(r *mail.Reply) error {
	if !s.peer.LMTP {
		return s.endTransaction(r)
	}
	t := s.tx
	each := t.Each()
	if each == nil {
		each = repeated(r, t.taken)
	}
	s.ended(r)
	return s.answerEach(each, r.Code == 421)
}

func repeated(r *mail.Reply, n int) []*mail.Reply {
	all := make([]*mail.Reply, max(n, 1))
	for i := range all {
		all[i] = r
	}
	return all
}

// answerEach gives all replies before it looks whether they are too many refusals:
// a client that misses one would send again what was taken. quit: then the session
// ends.
func (s *session) answerEach(all []*mail.Reply, quit bool) error {
	for _, r := range all {
		s.reply(r)
		if r.Permanent() {
			s.refused++
		}
	}
	switch {
	case quit:
		return errQuit
	case s.refused > s.cfg.Session.RefusedRecipients:
		s.reply(replies.TooManyRefused())
		return errQuit
	}
	return nil
}
