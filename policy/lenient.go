package policy

import (
	"slices"

	"postern/internal/text"
	"postern/mail"
)

// Forms says which forms of commands and messages a client may use.
type Forms string

// The values of forms. The zero value counts as StrictForms.
const (
	StrictForms  Forms = "strict"
	LenientForms Forms = "lenient"
)

// UnmarshalText takes one of the values and nothing else.
func (v *Forms) UnmarshalText(b []byte) error { return text.OneOf(v, b, StrictForms, LenientForms) }

// Lenient says that the client may use forms outside of the standards, which the relay
// rewrites: forms = "lenient".
func (c *Client) Lenient() bool { return c.cfg.Forms == LenientForms }

// LenientTo reports whether a peer may use forms outside of the standards before MAIL.
// Which client it is may not be known yet, since AUTH, a certificate or TLS may follow: the
// address of the peer must then lie in the networks of a lenient client.
func (r *Rules) LenientTo(p *mail.Peer) bool {
	if !r.index.someLenient {
		return false
	}
	now, refusal := r.Client(p)
	if refusal == nil && (now.Lenient() || !now.byAddress()) {
		return now.Lenient()
	}
	for _, here := range r.index.lenient.around(address(p)) {
		for _, c := range here {
			if c.onListener(p) && (refusal != nil || !c.byAddress() || c.cfg.RequireTLS && !p.TLS.On()) {
				return true
			}
		}
	}
	return false
}

// LenientAtMail is LenientTo at MAIL, when the client of the peer, if it has one, is known.
func (r *Rules) LenientAtMail(p *mail.Peer) bool {
	if c, refusal := r.Client(p); refusal == nil {
		return c.Lenient()
	}
	return r.LenientTo(p)
}

// XForward reports whether a peer may tell the address of its own client by XFORWARD:
// it can become, as far as its address and its listener say, a client that does. What
// it tells is heard only where it has become one.
func (r *Rules) XForward(p *mail.Peer) bool {
	ip := address(p)
	return slices.ContainsFunc(r.index.xforward, func(c *Client) bool { return c.reaches(p, ip) })
}

// addLenient enters a lenient client under its networks.
func (x *index) addLenient(c *Client) {
	if !c.Lenient() {
		return
	}
	x.someLenient = true
	for _, n := range c.cfg.Networks {
		x.lenient.change(n, func(here []*Client) []*Client { return append(here, c) })
	}
}
