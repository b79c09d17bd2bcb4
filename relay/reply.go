package relay

import (
	"fmt"
	"time"

	"postern/mail"
)

// All replies of the session itself. Those of policy stand in package policy,
// those of the upstream are passed on. docs/replies.md lists every one of them
// with its remedy.

func reply(code int, status, text string) *mail.Reply {
	return &mail.Reply{Code: code, Status: status, Text: text}
}

// Positive and intermediate replies.
func replyGreeting(host string) *mail.Reply { return reply(220, "", host+" ESMTP Postern") }
func replyHelo(host string) *mail.Reply     { return reply(250, "", host) }
func replyOK() *mail.Reply                  { return reply(250, "2.0.0", "OK") }
func replySenderOK() *mail.Reply            { return reply(250, "2.1.0", "sender OK") }
func replyStartData() *mail.Reply           { return reply(354, "", "end data with <CR><LF>.<CR><LF>") }
func replyBye() *mail.Reply                 { return reply(221, "2.0.0", "goodbye") }
func replyStartTLS() *mail.Reply            { return reply(220, "2.0.0", "ready to start TLS") }
func replyAuthOK() *mail.Reply              { return reply(235, "2.7.0", "authentication succeeded") }
func replyVrfy() *mail.Reply {
	return reply(252, "2.5.0", "cannot verify, but will take mail and try to deliver it")
}
func replyHelp() *mail.Reply {
	return reply(214, "2.0.0", "RFC 5321; see the operator of this relay")
}
func replyChunk(n int64) *mail.Reply {
	return reply(250, "2.0.0", fmt.Sprintf("%d octets received", n))
}

// Connections.
func replyTooManyConnections() *mail.Reply {
	return reply(421, "4.7.0", "too many connections, try again later")
}
func replyShutdown(host string) *mail.Reply {
	return reply(421, "4.3.2", host+" is shutting down, try again in a moment")
}
func replyTimeout(host string) *mail.Reply {
	return reply(421, "4.4.2", host+" waited too long for you, closing the connection")
}
func replyTooSlow() *mail.Reply {
	return reply(421, "4.4.2", "message data comes in too slowly, closing the connection")
}
func replyTooManyErrors() *mail.Reply {
	return reply(421, "4.7.0", "too many errors, closing the connection")
}
func replyTooManyRefused() *mail.Reply {
	return reply(421, "4.7.0", "too many refused recipients, closing the connection")
}
func replyTooManyRefusedMails() *mail.Reply {
	return reply(421, "4.7.0", "too many refused MAIL commands, closing the connection")
}
func replySessionOver() *mail.Reply {
	return reply(421, "4.7.0", "this session has lasted long enough, open a new connection")
}
func replyTooManyIdle() *mail.Reply {
	return reply(421, "4.7.0", "too many commands without mail, closing the connection")
}
func replyNotSMTP() *mail.Reply { return reply(554, "5.5.0", "this is an SMTP port") }

// Commands.
func replyUnknownCommand() *mail.Reply { return reply(500, "5.5.1", "command not recognized") }
func replyNotImplemented() *mail.Reply { return reply(502, "5.5.1", "command not implemented") }
func replyCommandTooLong() *mail.Reply {
	return reply(500, "5.5.2", "command line over 2,048 octets")
}
func replyCommandNewline() *mail.Reply {
	return reply(500, "5.5.2", "command line must end in CR LF and hold no other CR or LF")
}
func replyCommandBytes() *mail.Reply {
	return reply(500, "5.5.2", "control character in the command line")
}
func replySyntax(usage string) *mail.Reply { return reply(501, "5.5.4", "syntax: "+usage) }
func replyHeloSyntax() *mail.Reply {
	return reply(501, "5.5.2", "argument must be your host name or address literal")
}
func replyHeloFirst() *mail.Reply     { return reply(503, "5.5.1", "send EHLO first") }
func replyInTransaction() *mail.Reply { return reply(503, "5.5.1", "not within a mail transaction") }
func replyMailFirst() *mail.Reply     { return reply(503, "5.5.1", "send MAIL first") }
func replyRcptFirst() *mail.Reply     { return reply(503, "5.5.1", "send RCPT first") }
func replyChunksBegun() *mail.Reply {
	return reply(503, "5.5.1", "BDAT has begun, go on with BDAT or RSET")
}
func replyChunksFailed() *mail.Reply { return reply(503, "5.5.1", "an earlier BDAT failed, send RSET") }
func replyNoRecipients() *mail.Reply { return reply(554, "5.5.1", "no valid recipients") }
func replyNoRecipientsNow() *mail.Reply {
	return reply(450, "4.5.1", "no recipient can be taken now, try again later")
}
func replyUnknownParam() *mail.Reply    { return reply(555, "5.5.4", "parameter not recognized") }
func replyBadParam() *mail.Reply        { return reply(501, "5.5.4", "parameter value not valid") }
func replySenderSyntax() *mail.Reply    { return reply(501, "5.1.7", "bad sender address syntax") }
func replyRecipientSyntax() *mail.Reply { return reply(501, "5.1.3", "bad recipient address syntax") }
func replySourceRoute() *mail.Reply {
	return reply(550, "5.7.1", "source routes are not followed, send the plain address")
}
func replyLiteral() *mail.Reply {
	return reply(501, "5.1.3", "address literals are not accepted, send a domain name")
}
func replyTooManyRecipients() *mail.Reply {
	return reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
}
func replyNoPostmaster() *mail.Reply {
	return reply(550, "5.1.1", "<postmaster>: no postmaster address is configured here")
}

func replyXClientRefused() *mail.Reply { return reply(550, "5.7.1", "XCLIENT is not for you") }

// TLS and authentication.
func replyTLSNotOffered() *mail.Reply { return reply(502, "5.5.1", "TLS is not offered here") }
func replyTLSActive() *mail.Reply     { return reply(503, "5.5.1", "TLS is active already") }
func replyTLSFirst() *mail.Reply      { return reply(530, "5.7.0", "must issue a STARTTLS command first") }
func replyAuthTLS() *mail.Reply {
	return reply(538, "5.7.11", "encryption required, send STARTTLS first")
}
func replyAuthNotOffered() *mail.Reply {
	return reply(503, "5.5.1", "authentication is not offered here")
}
func replyAuthDone() *mail.Reply { return reply(503, "5.5.1", "already authenticated") }
func replyAuthMechanism() *mail.Reply {
	return reply(504, "5.5.4", "authentication mechanism not offered")
}
func replyAuthDecode() *mail.Reply    { return reply(501, "5.5.2", "cannot decode the response") }
func replyAuthCancelled() *mail.Reply { return reply(501, "5.7.0", "authentication cancelled") }
func replyAuthFailed() *mail.Reply    { return reply(535, "5.7.8", "authentication failed") }
func replyAuthUnavailable() *mail.Reply {
	return reply(454, "4.7.0", "authentication not available, try again later")
}
func replyUserSuspended(left time.Duration) *mail.Reply {
	if left <= 0 {
		return reply(454, "4.7.0", "your user is suspended for unusual sending, ask the operator of this relay")
	}
	return reply(454, "4.7.0", fmt.Sprintf("your user is suspended for unusual sending, retry in %d seconds", seconds(left)))
}
func replyAuthSuspended(left time.Duration) *mail.Reply {
	return reply(421, "4.7.0", fmt.Sprintf("too many failed authentications from your address, retry in %d seconds", seconds(left)))
}
func replyTooManyAuth() *mail.Reply {
	return reply(421, "4.7.0", "too many failed authentications, closing the connection")
}

// Messages.
func replyBareNewline() *mail.Reply {
	return reply(550, "5.5.2", "message holds a bare CR or LF; lines must end in CR LF")
}
func replyNUL() *mail.Reply { return reply(550, "5.5.2", "message holds a NUL octet") }
func replyLineTooLong() *mail.Reply {
	return reply(550, "5.5.2", "message holds a line that is too long")
}
func replyTooLarge(max int64) *mail.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("message is larger than %d octets", max))
}
func replyHeaderTooLarge() *mail.Reply { return reply(552, "5.3.4", "message header is too large") }
func replyFieldTooLarge() *mail.Reply {
	return reply(552, "5.3.4", "header field is too large")
}
func replyHeaderControl() *mail.Reply {
	return reply(550, "5.6.0", "message header holds a control character")
}
func replyHeaderSyntax() *mail.Reply {
	return reply(550, "5.6.0", "message header holds a line that is no header field")
}
func replyAuthorUTF8() *mail.Reply {
	return reply(550, "5.6.7", "an address in header From is not ASCII, send SMTPUTF8")
}
func replyLoop() *mail.Reply { return reply(554, "5.4.6", "too many hops, this message is in a loop") }

// Limits and suspensions.
func replyPace(who string, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: far over its usual volume, retry in %d seconds", who, seconds(left)))
}
func replySuppressed(to mail.Address) *mail.Reply {
	return reply(550, "5.1.1", to.Shown()+": mailbox does not exist, its server has said so before")
}
func replyBackoff(to mail.Address, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: receiver takes no more mail for now, retry in %d seconds", to.Shown(), seconds(left)))
}
func replyNoMail(to mail.Address, nullMX bool) *mail.Reply {
	if nullMX {
		return reply(556, "5.1.10", to.Shown()+": domain takes no mail (null MX)")
	}
	return reply(550, "5.1.2", to.Shown()+": domain does not exist")
}
func replyLimit(who, per, unit string, max int64, window string, retry time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: %s limit of %d %s in %s reached, retry in %d seconds",
		who, per, max, unit, window, seconds(retry)))
}
func replySharedLimit(who string, retry time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: relay limit reached, retry in %d seconds", who, seconds(retry)))
}
func replyStopped(who, per, unit string) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: %s limit allows no %s at present", who, per, unit))
}
func replyNeverFits(who, per string, max int64, window string) *mail.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("%s: message is larger than the whole %s limit of %d octets in %s", who, per, max, window))
}
func replySuspended(who string, left time.Duration) *mail.Reply {
	if left <= 0 {
		return reply(450, "4.7.1", fmt.Sprintf("%s: suspended for unusual sending, ask the operator of this relay", who))
	}
	return reply(450, "4.7.1", fmt.Sprintf("%s: suspended for unusual sending, retry in %d seconds", who, seconds(left)))
}

func replyNoLongerClient() *mail.Reply {
	return reply(450, "4.7.1", "what you may send has changed, send the message again")
}
func replyNoLongerOwned(who string) *mail.Reply {
	return reply(450, "4.7.1", who+": who may send as this sender has changed, send the message again")
}

// seconds rounds up, so that a client that waits that long gets in.
func seconds(d time.Duration) int64 {
	return max(1, int64((d+time.Second-1)/time.Second))
}

// Faults: trouble of ours or behind us, always temporary, never explained to
// the client beyond its kind.
func replyFault() *mail.Reply { return reply(451, "4.3.0", "temporary fault, try again later") }
func replyStoreFault() *mail.Reply {
	return reply(451, "4.3.2", "limits cannot be checked now, try again later")
}
func replyStorage() *mail.Reply {
	return reply(452, "4.3.1", "no room for the message now, try again later")
}
func replyUpstreamDown() *mail.Reply {
	return reply(451, "4.4.1", "upstream cannot be reached now, try again later")
}
func replyUpstreamLost() *mail.Reply {
	return reply(451, "4.4.2", "upstream connection was lost, try again later")
}
func replyVerdictChanged() *mail.Reply {
	return reply(451, "4.4.2", "upstream changed its verdict on a recipient, try again later")
}
func replyCannotSign() *mail.Reply {
	return reply(451, "4.3.0", "message cannot be signed now, try again later")
}
