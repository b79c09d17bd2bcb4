package relay

import (
	"errors"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// offersDSN reports whether DSN (RFC 3461) may be offered to a peer: a client who
// asks for reports must find someone behind us who makes them, for we make none. So
// every client that the peer can become before its next EHLO has to be one whose
// mail goes to hosts that all offered DSN when they were last spoken with.
func (s *Server) offersDSN(p *mail.Peer, auth bool) bool {
	snap, all := s.snapshot(), false
	for stream := range snap.Rules.Streams(p, auth) {
		route := snap.Routes[stream]
		if route == nil || route.Direct != nil || !route.Upstream.OffersDSN() {
			return false
		}
		all = true
	}
	return all
}

// dropDSN takes the parameters of DSN off a command where DSN was not offered, for a
// client whose forms are lenient.
func (t *transaction) dropDSN(lenient bool, params ...*string) {
	if t.conn.DSN() || !lenient {
		return
	}
	for _, p := range params {
		*p = ""
	}
}

// notOffered is the reply to parameters of DSN in a session to which it was not
// offered, whatever their values; nil for others. err is that of the parser, asked
// whether it has found one.
func (t *transaction) notOffered(arg string, err error, asked bool) *mail.Reply {
	if t.conn.DSN() || !asked && !(errors.Is(err, syntax.ErrBadParam) && syntax.NamesDSN(arg)) {
		return nil
	}
	return replies.UnknownParam()
}
