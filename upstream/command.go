package upstream

import (
	"fmt"
	"strconv"

	"postern/mail"
)

// The replies that stand in for those of an upstream that cannot do what a
// transaction needs.
var (
	replyTooLarge   = mail.Reply{Code: 552, Status: "5.3.4", Text: "message is larger than the upstream takes"}
	replyNeeds8Bit  = mail.Reply{Code: 554, Status: "5.6.3", Text: "message has 8-bit octets and the upstream takes only 7-bit"}
	replyNeedsBin   = mail.Reply{Code: 554, Status: "5.6.3", Text: "upstream does not take BINARYMIME"}
	replyUTF8From   = mail.Reply{Code: 550, Status: "5.6.7", Text: "upstream does not take non-ASCII sender addresses"}
	replyUTF8To     = mail.Reply{Code: 553, Status: "5.6.7", Text: "upstream does not take non-ASCII recipient addresses"}
	replyUTF8Header = mail.Reply{Code: 550, Status: "5.6.9", Text: "message header is not ASCII and the upstream does not offer SMTPUTF8"}
	replyRequireTLS = mail.Reply{Code: 550, Status: "5.7.30", Text: "REQUIRETLS support required"}
	replyNoDSN      = mail.Reply{Code: 451, Status: "4.3.3", Text: "upstream no longer offers DSN, send the message again in a new session"}
	replyCapturedTo = mail.Reply{Code: 250, Status: "2.1.5", Text: "recipient ok, to be captured"}
)

// unfit returns the reply to an envelope that the host cannot take (RFC 1870,
// 3030, 6531, 8689), nil when it can.
func (c *conn) unfit(env *mail.Envelope) *mail.Reply {
	switch {
	case env.RequireTLS && !(c.verified && c.caps.RequireTLS):
		return &replyRequireTLS
	case env.Body == mail.BodyBinary && !(c.takesBDAT() && c.caps.Binary):
		return &replyNeedsBin
	case !mail.ASCII(env.From.Local) && !c.utf8(env):
		return &replyUTF8From
	case c.caps.Size > 0 && env.Size > c.caps.Size:
		return &replyTooLarge
	case !c.caps.DSN && (env.Ret != "" || env.EnvID != ""):
		return &replyNoDSN
	}
	return nil
}

// takesDSN is false for a recipient with parameters that the host does not offer. They
// came while every host did; without them a report would not be made, or one be made
// that was forbidden.
func (c *conn) takesDSN(r *mail.Recipient) bool {
	return c.caps.DSN || r.Notify == "" && r.ORcpt == ""
}

// utf8 reports whether MAIL goes out with SMTPUTF8.
func (c *conn) utf8(env *mail.Envelope) bool { return env.UTF8 && c.caps.UTF8 }

// wire appends the address as it goes out. Without SMTPUTF8 a domain is written
// in A-labels, which name the same host; a local part has no such form.
func (c *conn) wire(a mail.Address, utf8 bool) {
	if !utf8 && !mail.ASCII(a.Written) {
		a.Written = ""
	}
	c.out = a.AppendTo(c.out)
}

// mail appends MAIL with the parameters that the host offers. size is 0 when
// not known.
func (c *conn) mail(env *mail.Envelope, size int64) error {
	start := len(c.out)
	c.out = append(c.out, "MAIL FROM:<"...)
	c.wire(env.From, c.utf8(env))
	c.out = append(c.out, '>')
	if c.caps.HasSize && size > 0 {
		c.out = strconv.AppendInt(append(c.out, " SIZE="...), size, 10)
	}
	if c.caps.EightBit || env.Body == mail.BodyBinary {
		c.param(" BODY=", env.Body)
	}
	if c.utf8(env) {
		c.out = append(c.out, " SMTPUTF8"...)
	}
	if c.caps.DSN {
		c.param(" RET=", env.Ret)
		c.param(" ENVID=", env.EnvID)
	}
	if env.RequireTLS {
		c.out = append(c.out, " REQUIRETLS"...)
	}
	return c.endLine(start)
}

// rcpt appends RCPT.
func (c *conn) rcpt(r *mail.Recipient, utf8 bool) error {
	start := len(c.out)
	c.out = append(c.out, "RCPT TO:<"...)
	c.wire(r.Address, utf8)
	c.out = append(c.out, '>')
	if c.caps.DSN {
		c.param(" NOTIFY=", r.Notify)
		c.param(" ORCPT=", r.ORcpt)
	}
	return c.endLine(start)
}

func (c *conn) param(name, value string) {
	if value != "" {
		c.out = append(append(c.out, name...), value...)
	}
}

// endLine ends the command that began at start. Addresses and parameters have
// passed their grammar; that no octet of them can end a line is so important
// that it is looked at again.
func (c *conn) endLine(start int) error {
	for _, b := range c.out[start:] {
		if b < ' ' || b == 0x7f {
			return fmt.Errorf("control character in command %q", c.out[start:])
		}
	}
	c.out = append(c.out, "\r\n"...)
	return nil
}
