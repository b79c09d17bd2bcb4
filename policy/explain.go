package policy

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ExplainClient writes in plain words who a client is and what it may send, for people
// who check a configuration. The form may change.
func (r *Rules) ExplainClient(w io.Writer, c *Client) error {
	lines := []struct{ label, text string }{
		{"who", c.who()},
		{"as", c.as()},
		{"header", c.header()},
		{"to", c.to()},
		{"null sender", c.null()},
		{"replies", r.automatic(c)},
		{"through", "stream " + c.stream.name},
	}
	if c.Lenient() {
		text := "those of devices that cannot be mended are written anew"
		if len(c.cfg.Networks) == 0 {
			text += ", behind AUTH or a certificate only, for it has no networks"
		}
		lines = append(lines, struct{ label, text string }{"forms", text})
	}
	if _, err := fmt.Fprintf(w, "client %s\n", c.name); err != nil {
		return err
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "  %-12s %s\n", l.label+":", l.text); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) who() string {
	parts := []string{"any host"}
	if n := c.cfg.Networks; slices.ContainsFunc(n, func(p netip.Prefix) bool { return !p.IsSingleIP() }) {
		parts[0] = "hosts in " + list("or", texts(n))
	} else if len(n) > 0 {
		parts[0] = "host " + list("or", texts(n))
	}
	if isAny(c) {
		parts = append(parts, "authenticated as any user")
	} else if len(c.cfg.Users) > 0 {
		parts = append(parts, "authenticated as "+list("or", quoted(c.cfg.Users)))
	}
	if len(c.cfg.Certificates) > 0 {
		parts = append(parts, "with a certificate for "+list("or", c.cfg.Certificates))
	}
	if len(c.cfg.Listeners) > 0 {
		parts = append(parts, "on listener "+list("or", c.cfg.Listeners))
	}
	if c.cfg.RequireTLS {
		parts = append(parts, "over TLS")
	}
	return strings.Join(parts, ", ")
}

func (c *Client) as() string {
	if c.senders.Empty() && c.selves.empty() {
		return "nobody: it can send nothing"
	}
	return list("or", append(c.senders.eachInWords(), c.selves.words()...))
}

func (c *Client) header() string {
	verb := "every author in From must be one of these"
	if c.cfg.FromMismatch == ShadowMismatch {
		verb = "an author in From who is none of these is logged and passes"
	}
	var also []string
	for _, field := range []string{"Sender", "Resent-From", "Resent-Sender", "Reply-To"} {
		if c.checks(field) {
			also = append(also, field)
		}
	}
	if len(also) > 0 {
		verb += "; those in " + list("and", also) + " must be, too"
	}
	if c.cfg.DuplicateFields != Allow {
		verb += "; no field that may stand once occurs twice"
	}
	if c.cfg.DisplayNameAddress != Allow {
		verb += "; no name shows another address"
	}
	switch c.stream.unsubscribe {
	case AnyUnsubscribe:
		verb += "; List-Unsubscribe is needed"
	case OneClick:
		verb += "; one-click List-Unsubscribe is needed"
	}
	return verb
}

func (c *Client) to() string {
	text := "everybody"
	switch {
	case !c.allow.Empty() && !c.stream.allow.Empty():
		text = "only " + c.allow.words() + ", and of these only " + c.stream.allow.words()
	case !c.allow.Empty():
		text = "only " + c.allow.words()
	case !c.stream.allow.Empty():
		text = "only " + c.stream.allow.words()
	}
	var except []string
	for _, p := range []*patterns{&c.refuse, &c.stream.refuse} {
		if !p.Empty() {
			except = append(except, p.words())
		}
	}
	if len(except) > 0 {
		text += ", except " + strings.Join(except, ", ")
	}
	if !c.cfg.AddressLiterals {
		return text + "; no address literals"
	}
	return text
}

func (c *Client) null() string {
	switch c.cfg.NullSender {
	case AllowNull:
		return "allowed without a limit of its own"
	case LimitNull:
		return "allowed, messages at most " + list("and", c.cfg.NullSenderLimit)
	}
	return "refused"
}

func (r *Rules) automatic(c *Client) string {
	leave := ""
	if !r.internal.Empty() {
		leave = " that leave " + list("and", r.internal.names())
	}
	text := "automatic replies" + leave + " " + c.cfg.AutomaticReplies.words()
	switch about := r.Automatic(c, &HeaderFacts{Automatic: Report}); {
	case about == c.cfg.AutomaticReplies:
		text = "automatic replies, reports and receipts" + leave + " " + about.words()
	case c.cfg.NullSender == AllowNull:
		text += "; reports and receipts are allowed"
	default:
		text += "; reports and receipts count on null_sender_limit (" + list("and", c.cfg.NullSenderLimit) + ")"
	}
	if c.cfg.AutomaticNotices.Mode != AllowReplies {
		text += "; automatic notices " + c.cfg.AutomaticNotices.words()
	}
	return text
}

func (v AutomaticReplies) words() string {
	switch v.Mode {
	case AllowReplies:
		return "are allowed"
	case OncePerRecipient:
		return "go once from an author to a recipient in " + days(v.Period)
	}
	return "are refused"
}

// names are the domains of patterns that are whole domains.
func (p *patterns) names() (all []string) {
	for _, s := range p.written {
		all = append(all, strings.TrimPrefix(s, "@"))
	}
	return all
}

// words writes patterns as people say them.
func (p *patterns) words() string { return list("or", p.eachInWords()) }

func (p *patterns) eachInWords() (all []string) {
	for _, s := range p.written {
		if parent, ok := strings.CutPrefix(s, "@*."); ok {
			s = "anybody at a domain below " + parent
		} else if domain, ok := strings.CutPrefix(s, "@"); ok {
			s = "anybody at " + domain
		}
		all = append(all, s)
	}
	return all
}

func list(last string, items []string) string {
	n := len(items)
	if n < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:n-1], ", ") + " " + last + " " + items[n-1]
}

func texts(networks []netip.Prefix) (all []string) {
	for _, n := range networks {
		if n.IsSingleIP() {
			all = append(all, n.Addr().String())
		} else {
			all = append(all, n.String())
		}
	}
	return all
}

func quoted(names []string) (all []string) {
	for _, s := range names {
		all = append(all, strconv.Quote(s))
	}
	return all
}
