package policy

import (
	"fmt"
	"net/netip"
	"time"

	"postern/mail"
)

// All replies of policy. Their texts are stable and name nothing that the
// client does not know already.

func replyAuthRequired() *mail.Reply {
	return &mail.Reply{Code: 530, Status: "5.7.0", Text: "authentication required"}
}

func replyTLSRequired() *mail.Reply {
	return &mail.Reply{Code: 530, Status: "5.7.0", Text: "must issue a STARTTLS command first"}
}

// RefusePeer is the reply to a peer that can become no client: 554 5.7.1.
func RefusePeer(p *mail.Peer) *mail.Reply { return replyNotAClient(address(p)) }

func replyNotAClient(ip netip.Addr) *mail.Reply {
	shown := "unknown"
	if ip.IsValid() {
		shown = ip.String()
	}
	return &mail.Reply{Code: 554, Status: "5.7.1", Text: "[" + shown + "]: not an authorised client"}
}

func replyNullSender() *mail.Reply {
	return &mail.Reply{Code: 553, Status: "5.7.1", Text: "<>: null reverse-path not allowed for this client"}
}

func replySenderNotOwned(from mail.Address) *mail.Reply {
	return &mail.Reply{Code: 553, Status: "5.7.1", Text: from.Shown() + ": sender not owned by this client"}
}

func replyRecipient(to mail.Address) *mail.Reply {
	return &mail.Reply{Code: 550, Status: "5.7.1", Text: to.Shown() + ": recipient not allowed for this client"}
}

func replyFromCount(n int) *mail.Reply {
	return refused("message has " + plural(n) + ", must have one")
}

func replyUnreadable(field string) *mail.Reply {
	return refused("addresses in header " + field + " cannot be read for certain")
}

func replyNotOwned(field string, a mail.Address) *mail.Reply {
	return refused(a.Shown() + ": address in header " + field + " not owned by this client")
}

func replyDisplayName(own mail.Address) *mail.Reply {
	return refused(own.Shown() + ": its name in header From shows another address")
}

func replyDuplicate(field string) *mail.Reply {
	return refused("header field " + field + " occurs more than once")
}

func replyNoUnsubscribe() *mail.Reply {
	return refused("message of this stream needs a List-Unsubscribe field with a link")
}

func replyNoOneClick() *mail.Reply {
	return refused("message of this stream needs List-Unsubscribe with an https link and List-Unsubscribe-Post (RFC 8058)")
}

// RefuseAutomatic is the reply that refuses an automatic message to a recipient; what is
// the result of Automatic.
func RefuseAutomatic(what AutomaticReplies, to mail.Address) *mail.Reply {
	if what.Mode == OncePerRecipient {
		return refused(to.Shown() + ": has had an automatic message within " + days(what.Period))
	}
	return refused(to.Shown() + ": automatic message not allowed for this client")
}

func days(d time.Duration) string {
	if d%day == 0 && d > day {
		return fmt.Sprintf("%d days", d/day)
	}
	return formatPeriod(d)
}

func refused(text string) *mail.Reply {
	return &mail.Reply{Code: 550, Status: "5.7.1", Text: text}
}
