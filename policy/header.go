package policy

import (
	"strconv"
	"strings"
	"unicode"

	"postern/mail"
)

// checks reports whether the client's settings hold that field to its senders.
func (c *Client) checks(field string) bool {
	switch field {
	case "Sender":
		return c.cfg.CheckSender
	case "Resent-From", "Resent-Sender":
		return c.cfg.CheckResentFrom
	case "Reply-To":
		return c.cfg.CheckReplyTo
	}
	return false
}

// Header judges a message by its header: 550 5.7.1, and the key of the setting
// that decided ("from" where none is: there must be one From that can be read).
// With shadow the message may pass without our signature: the refusal is for the
// log alone, or none at all where Client.Forwarded says why.
func (r *Rules) Header(c *Client, h *HeaderFacts) (rule string, reply *mail.Reply, shadow bool) {
	switch {
	case h.From != 1:
		return "from", replyFromCount(h.From), false
	case h.Unreadable != nil || len(h.Authors) == 0:
		return "from", replyUnreadable("From"), false
	}
	mismatch := c.foreign("From", h.Authors)
	switch {
	case mismatch != nil && c.cfg.FromMismatch != ShadowMismatch && c.Forwarded(h) == "":
		return "from_mismatch", mismatch, false
	case !c.readable(h.Authors):
		return "from", replyUnreadable("From"), false
	}
	for _, judge := range [...]func(*Client, *HeaderFacts) (string, *mail.Reply){
		(*Client).names, (*Client).duplicates, (*Client).others, (*Client).unsubscribe,
	} {
		if rule, reply := judge(c, h); reply != nil {
			return rule, reply, false
		}
	}
	if mismatch != nil {
		return "from_mismatch", mismatch, true
	}
	return "", nil, false
}

// readable reports whether readers take the local-parts for what they are: some
// see the address within the quotes of "ceo@bank.example"@example.org, others
// drop the quotes, or characters that cannot be seen. Who owns exactly that
// address has chosen it.
func (c *Client) readable(authors []mail.Author) bool {
	for i := range authors {
		a := &authors[i].Address
		odd := mail.QuoteLocal(a.Local) != a.Local || strings.ContainsFunc(a.Local, func(r rune) bool { return look(r) != r })
		if odd && !c.named(*a) {
			return false
		}
	}
	return true
}

func (c *Client) foreign(field string, addresses []mail.Author) *mail.Reply {
	for i := range addresses {
		if !c.Owns(addresses[i].Address) {
			return replyNotOwned(field, addresses[i].Address)
		}
	}
	return nil
}

func (c *Client) names(h *HeaderFacts) (string, *mail.Reply) {
	const rule = "display_name_address"
	if c.cfg.DisplayNameAddress == Allow {
		return "", nil
	}
	for i := range h.Authors {
		if a := &h.Authors[i]; deceives(a.Name, a.Address) || deceives(a.Comment, a.Address) {
			return rule, replyDisplayName(a.Address)
		}
	}
	return "", nil
}

func (c *Client) duplicates(h *HeaderFacts) (string, *mail.Reply) {
	if c.cfg.DuplicateFields == Allow || len(h.Duplicates) == 0 {
		return "", nil
	}
	return "duplicate_fields", replyDuplicate(h.Duplicates[0])
}

func (c *Client) others(h *HeaderFacts) (string, *mail.Reply) {
	for i := range h.Others {
		o := &h.Others[i]
		if !c.checks(o.Field) {
			continue
		}
		// They leave as they came, so they must be plain.
		addresses, plain, err := h.authors(nil, o.Body)
		if err != nil || !plain || !c.readable(addresses) {
			return checkOf(o.Field), replyUnreadable(o.Field)
		}
		if reply := c.foreign(o.Field, addresses); reply != nil {
			return checkOf(o.Field), reply
		}
	}
	return "", nil
}

// checkOf is the setting that holds a field to the senders.
func checkOf(field string) string {
	if field == "Resent-Sender" {
		return "check_resent_from"
	}
	return "check_" + strings.ReplaceAll(strings.ToLower(field), "-", "_")
}

func (c *Client) unsubscribe(h *HeaderFacts) (string, *mail.Reply) {
	const rule = "require_list_unsubscribe"
	switch want := c.stream.unsubscribe; {
	case want == AnyUnsubscribe && h.Unsubscribe == NoUnsubscribe:
		return rule, replyNoUnsubscribe()
	case want == OneClick && h.Unsubscribe != OneClick:
		return rule, replyNoOneClick()
	}
	return "", nil
}

// deceives reports whether text shows an address that is not the author's own,
// or may show one to some readers: it holds an encoded-word that could not be
// decoded, or turns the direction of writing around an at sign.
func deceives(text string, own mail.Address) bool {
	if text == "" {
		return false
	}
	if _, rest, ok := strings.Cut(text, "=?"); ok && strings.Contains(rest, "?=") {
		return true
	}
	if !strings.ContainsAny(text, "@\uff20\ufe6b\ufffd") {
		return false
	}
	if strings.ContainsAny(text, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") {
		return true
	}
	text = strings.Map(look, text)
	for at := strings.IndexByte(text, '@'); at >= 0; {
		if shows(text[:at], text[at+1:], own) {
			return true
		}
		next := strings.IndexByte(text[at+1:], '@')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return false
}

// shows reports whether what stands around an at sign is an address of somebody
// else. Blanks beside the sign are nothing to a reader that decodes first; with
// them "Anna @ Example.org" is fine where the author is at example.org.
func shows(before, after string, own mail.Address) bool {
	near, far := strings.TrimRight(before, " \t"), strings.TrimLeft(after, " \t")
	local, domain := lastWord(near), strings.Trim(firstWord(far), ".!?*")
	switch {
	case local == "" || !strings.Contains(domain, "."), isOwn(local+"@"+domain, own):
		return false
	case len(near)+len(far) < len(before)+len(after):
		return !strings.EqualFold(domain, own.Domain) && !strings.EqualFold(domain, own.Written)
	}
	return true
}

func isOwn(shown string, own mail.Address) bool {
	return strings.EqualFold(shown, own.Key()) || strings.EqualFold(shown, own.String())
}

// look is what readers take a character for; -1 for those that cannot be seen.
func look(r rune) rune {
	switch r {
	case '\uff20', '\ufe6b', '\ufffd': // wide and small at sign, and what is one in some charset
		return '@'
	case '\uff0e', '\ufe52', '\u3002', '\uff61', '\u2024': // dots
		return '.'
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u3164', '\uffa0': // letters without a form
		return -1
	}
	if unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
		return -1
	}
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	return r
}

const aroundAddress = "@ \t<>()[]\"',;:|/"

func lastWord(s string) string { return s[strings.LastIndexAny(s, aroundAddress)+1:] }

func firstWord(s string) string {
	if i := strings.IndexAny(s, aroundAddress); i >= 0 {
		return s[:i]
	}
	return s
}

// plural writes a number of From fields.
func plural(n int) string {
	if n == 0 {
		return "no From field"
	}
	return strconv.Itoa(n) + " From fields"
}
