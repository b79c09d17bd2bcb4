package relay

import (
	"cmp"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/relay/replies"
	"postern/relay/smtpd"
)

// begin returns a transaction that starts now.
func (s *Server) begin(conn *smtpd.Conn) *transaction {
	now, p := time.Now(), conn.Peer()
	return &transaction{srv: s, conn: conn, peer: p, forwarded: p.Forwarded, snap: s.snapshot(), began: now, stage: mail.StageMail, ev: mail.Event{
		Time: now, ID: mail.NewID(now), Listener: p.Listener, ClientIP: mail.AddrText(p.Addr.Addr()),
		Helo: p.Helo, User: p.User, TLS: p.TLS.Version,
		To: []mail.RecipientEvent{}, // never nil: journals say "to":[]
	}}
}

// malformed refuses a MAIL that is not well formed: by the error of its parser,
// or for parameters that the reply to EHLO did not name.
func (t *transaction) malformed(path string, env *mail.Envelope, err error) *mail.Reply {
	t.dropDSN(t.snap.Rules.LenientAtMail(t.peer), &env.Ret, &env.EnvID)
	if r := t.notOffered(path, err, env.Ret != "" || env.EnvID != ""); r != nil {
		return r
	}
	switch {
	case err != nil:
		return replyMailSyntax(err)
	case env.Body == mail.BodyBinary:
		return replies.BadParam()
	case env.RequireTLS && !t.peer.TLS.On():
		return replies.UnknownParam()
	}
	return nil
}

// nameClient writes into the event which client sent a malformed MAIL, so that no
// client's refusals are lost among those of strangers.
func (t *transaction) nameClient() {
	if c, r := t.snap.Rules.Client(t.peer); r == nil {
		t.ev.Client, t.ev.Stream = c.Name(), c.Stream()
	}
}

func (t *transaction) facts() ratelimit.Facts {
	watched, isNew := t.past()
	return ratelimit.Facts{
		Watched: watched, NewSender: isNew, Tells: t.client.Submitter() != nil, Names: t.client.NamesSubmitters(),
		Client: t.client.Name(), User: t.peer.User, ClientIP: cmp.Or(t.ev.ClientIP, unknownIP),
		Sender: t.sender, SenderDomain: t.env.From.Domain,
		Stream: t.client.Stream(), Upstream: t.route.Name, SourceIP: t.route.SourceKey,
	}
}

// past says whether the client's past is known, and whether the sender is new as whoever
// has submitted the mail uses it, as far as that is known by now.
func (t *transaction) past() (watched, isNew bool) {
	if t.srv.hooks.Past == nil {
		return false, false
	}
	return t.srv.hooks.Past(t.client.Name(), t.ev.Party(), t.sender)
}

// unknownIP is what limits per client_ip count those on whose address a front end
// does not know: together, as one, and not as mail without that value.
const unknownIP = "unknown"
