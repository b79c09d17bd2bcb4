package smtpd

import (
	"crypto/tls"
	"time"

	"postern/mail"
	"postern/relay/replies"
)

// startTLS upgrades the connection (RFC 3207). What the client sent behind the
// command in plain text is dropped, and a handshake that fails ends the
// connection.
func (s *session) startTLS() error {
	switch {
	case s.peer.TLS.On():
		return s.fail(replies.TLSActive())
	case s.set.tls == nil:
		return s.fail(replies.TLSNotOffered())
	case s.tx != nil:
		return s.fail(replies.InTransaction())
	case s.peer.Helo == "" || !s.peer.ESMTP:
		return s.fail(s.helloFirst())
	}
	s.reply(replies.StartTLS())
	if err := s.flush(); err != nil {
		return err
	}
	s.r, s.w = 0, 0
	if err := s.handshake(); err != nil {
		return errQuit
	}
	s.peer.Helo, s.peer.ESMTP, s.peer.User, s.dsn = "", false, "", false
	return nil
}

// handshake makes the connection a TLS one and notes what was agreed on.
func (s *session) handshake() error {
	deadline := time.Now().Add(s.cfg.Timeouts.Greeting)
	if err := s.beginWait(deadline); err != nil {
		return err
	}
	s.writeBy = time.Time{}
	s.conn.SetWriteDeadline(deadline)
	config := s.set.tls.config()
	conn := tls.Server(s.conn, config)
	err := conn.HandshakeContext(s.ctx)
	s.endWait()
	if err != nil {
		s.handshakeFailed(err)
		return err
	}
	s.conn = conn
	state := conn.ConnectionState()
	s.peer.TLS = mail.TLS{
		Version: tls.VersionName(state.Version),
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
		Name:    state.ServerName,
	}
	s.peer.Certificates = certificateNames(&state)
	s.vetted = vettedBy(&state, config.ClientCAs)
	return nil
}
