package policy

import (
	"strings"

	"postern/mail"
)

// Sender judges the reverse-path of a client: 553 5.7.1 for one that it does
// not own, and for the null reverse-path where null_sender is "reject".
func (r *Rules) Sender(c *Client, from mail.Address) *mail.Reply {
	switch {
	case from.IsNull() && c.cfg.NullSender != LimitNull && c.cfg.NullSender != AllowNull:
		return replyNullSender()
	case !from.IsNull() && !c.Owns(from):
		return replySenderNotOwned(from)
	}
	return nil
}

// Recipient judges a forward-path by the rules of the client and of its stream:
// 550 5.7.1. The caller has put a real address for the bare <postmaster>, which
// otherwise is refused wherever allow_recipients is set.
func (r *Rules) Recipient(c *Client, to mail.Address) *mail.Reply {
	switch s := c.stream; {
	case strings.HasPrefix(to.Domain, "[") && !c.cfg.AddressLiterals,
		c.refuse.MatchSender(to), // a spelling that the receiver may take for the same is refused, too
		s.refuse.MatchSender(to),
		!c.allow.Empty() && !c.allow.MatchRecipient(to),
		!s.allow.Empty() && !s.allow.MatchRecipient(to):
		return replyRecipient(to)
	}
	return nil
}

// Internal reports whether a recipient is in one of internal_domains.
func (r *Rules) Internal(to mail.Address) bool { return r.internal.MatchRecipient(to) }

// Automatic says what may happen to a message with this header for recipients
// that are not Internal; mail that is not automatic is allowed. Receipts and
// reports are each about one message, so that once_per_recipient does not bind
// them where null_sender_limit counts them, or null_sender = "allow" lets all
// pass.
func (r *Rules) Automatic(c *Client, h *HeaderFacts) AutomaticReplies {
	switch what := c.cfg.AutomaticReplies; {
	case h.Automatic == NotAutomatic:
		return AutomaticReplies{Mode: AllowReplies}
	case h.Automatic == Notice:
		return c.cfg.AutomaticNotices
	case h.Automatic.AboutOne() && what.Mode == OncePerRecipient && (c.cfg.NullSender == AllowNull || len(c.cfg.NullSenderLimit) > 0):
		return AutomaticReplies{Mode: AllowReplies}
	default:
		return what
	}
}

// AboutOne reports whether each message of the kind is about another message.
func (a Automatic) AboutOne() bool { return a == Receipt || a == Report }
