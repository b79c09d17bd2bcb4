package upstream

import (
	"net/netip"

	"postern/mail"
)

// Verdict says what became of a message at the hosts of one recipient domain, or at the
// configured upstream.
type Verdict struct {
	// Domain of the recipients whom it is about; "": it is about all.
	Domain string
	Reply  mail.Reply // without Err only
	// Err is as that of Transaction.Send: after ErrUnknownOutcome the mail may have been
	// taken, after any other error it was not.
	Err error

	Host     string // as Transaction.Host
	SourceIP netip.Addr
	TLS      string
}
