// Package replies holds the text of every reply that the relay itself gives, one
// function for each. Each call makes a new reply, which the caller may change. A
// parameter who names a sender, user or client as the client knows it; left and
// retry are waits, which the text gives in seconds, rounded up.
//
// A reply is a three-digit code (RFC 5321 s. 4.2), an enhanced status code of the
// same class (RFC 3463) and text for people. 4yz says "not now": the client keeps
// the message and comes again. 5yz says "never like this": the client gives up
// and tells its sender. So trouble of ours is always 4yz. A text is plain and
// stable, since operators search for it, and it names no host, key or rule that
// the client may not know of; the log has the rest.
//
// docs/replies.md lists each of them with its remedy. Replies of policy stand in
// package policy; those of the upstream are passed on.
package replies

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/text"
	"postern/mail"
)

func reply(code int, status, text string) *mail.Reply {
	return &mail.Reply{Code: code, Status: status, Text: text}
}

// Positive and intermediate replies.

// Greeting is what a connection hears first (RFC 5321 s. 4.2); host is our name.
func Greeting(host string) *mail.Reply { return reply(220, "", host+" ESMTP Postern") }

// GreetingLMTP is Greeting on a listener that speaks LMTP (RFC 2033).
func GreetingLMTP(host string) *mail.Reply { return reply(220, "", host+" LMTP Postern") }

// Helo answers HELO; host is our name.
func Helo(host string) *mail.Reply { return reply(250, "", host) }
func OK() *mail.Reply              { return reply(250, "2.0.0", "OK") }

// SenderOK takes a MAIL command.
func SenderOK() *mail.Reply { return reply(250, "2.1.0", "sender OK") }

// StartData asks for the message after DATA (RFC 5321 s. 4.1.1.4).
func StartData() *mail.Reply { return reply(354, "", "end data with <CR><LF>.<CR><LF>") }
func Bye() *mail.Reply       { return reply(221, "2.0.0", "goodbye") }
func StartTLS() *mail.Reply  { return reply(220, "2.0.0", "ready to start TLS") }

// Challenge asks for the next response within AUTH (RFC 4954 s. 4).
func Challenge(base64 string) *mail.Reply { return reply(334, "", base64) }
func AuthOK() *mail.Reply                 { return reply(235, "2.7.0", "authentication succeeded") }

// Vrfy answers VRFY without saying whether the mailbox exists (RFC 5321 s. 3.5.3).
func Vrfy() *mail.Reply {
	return reply(252, "2.5.0", "cannot verify, but will take mail and try to deliver it")
}
func Help() *mail.Reply {
	return reply(214, "2.0.0", "RFC 5321; see the operator of this relay")
}

// Chunk takes a BDAT command of n octets that is not the last (RFC 3030).
func Chunk(n int64) *mail.Reply {
	return reply(250, "2.0.0", fmt.Sprintf("%d octets received", n))
}

// Connections.

// TooManyConnections refuses a connection over max_connections or max_connections_per_ip.
func TooManyConnections() *mail.Reply {
	return reply(421, "4.7.0", "too many connections, try again later")
}

// Shutdown ends a session since the relay stops; host is our name.
func Shutdown(host string) *mail.Reply {
	return reply(421, "4.3.2", host+" is shutting down, try again in a moment")
}

// Timeout ends a session whose client was silent for too long; host is our name.
func Timeout(host string) *mail.Reply {
	return reply(421, "4.4.2", host+" waited too long for you, closing the connection")
}
func TooSlow() *mail.Reply {
	return reply(421, "4.4.2", "message data comes in too slowly, closing the connection")
}
func TooManyErrors() *mail.Reply {
	return reply(421, "4.7.0", "too many errors, closing the connection")
}
func TooManyRefused() *mail.Reply {
	return reply(421, "4.7.0", "too many refused recipients, closing the connection")
}
func TooManyRefusedMails() *mail.Reply {
	return reply(421, "4.7.0", "too many refused MAIL commands, closing the connection")
}
func SessionOver() *mail.Reply {
	return reply(421, "4.7.0", "this session has lasted long enough, open a new connection")
}

// TooManyIdle ends a session over [session] idle_commands.
func TooManyIdle() *mail.Reply {
	return reply(421, "4.7.0", "too many commands without mail, closing the connection")
}

// NotSMTP ends a connection that speaks another protocol.
func NotSMTP() *mail.Reply { return reply(554, "5.5.0", "this is an SMTP port") }

// Commands.

// UnknownCommand answers a verb that is not known here (RFC 5321 s. 4.2.4).
func UnknownCommand() *mail.Reply { return reply(500, "5.5.1", "command not recognized") }
func NotImplemented() *mail.Reply { return reply(502, "5.5.1", "command not implemented") }
func CommandTooLong() *mail.Reply {
	return reply(500, "5.5.2", "command line over 2,048 octets")
}
func CommandNewline() *mail.Reply {
	return reply(500, "5.5.2", "command line must end in CR LF and hold no other CR or LF")
}
func CommandBytes() *mail.Reply {
	return reply(500, "5.5.2", "control character in the command line")
}

// Syntax answers a command with wrong arguments; usage is how to write it.
func Syntax(usage string) *mail.Reply { return reply(501, "5.5.4", "syntax: "+usage) }
func HeloSyntax() *mail.Reply {
	return reply(501, "5.5.2", "argument must be your host name or address literal")
}
func HeloFirst() *mail.Reply     { return reply(503, "5.5.1", "send EHLO first") }
func LHLOFirst() *mail.Reply     { return reply(503, "5.5.1", "send LHLO first") }
func InTransaction() *mail.Reply { return reply(503, "5.5.1", "not within a mail transaction") }
func MailFirst() *mail.Reply     { return reply(503, "5.5.1", "send MAIL first") }
func RcptFirst() *mail.Reply     { return reply(503, "5.5.1", "send RCPT first") }
func ChunksBegun() *mail.Reply {
	return reply(503, "5.5.1", "BDAT has begun, go on with BDAT or RSET")
}
func ChunksFailed() *mail.Reply { return reply(503, "5.5.1", "an earlier BDAT failed, send RSET") }

// NoRecipients answers DATA or BDAT where all recipients were refused for good.
func NoRecipients() *mail.Reply { return reply(554, "5.5.1", "no valid recipients") }

// NoRecipientsLMTP is NoRecipients for LMTP (RFC 2033 s. 4.2).
func NoRecipientsLMTP() *mail.Reply { return reply(503, "5.5.1", "no valid recipients") }

// NoRecipientsNow is NoRecipients where some may be taken later.
func NoRecipientsNow() *mail.Reply {
	return reply(450, "4.5.1", "no recipient can be taken now, try again later")
}
func UnknownParam() *mail.Reply    { return reply(555, "5.5.4", "parameter not recognized") }
func BadParam() *mail.Reply        { return reply(501, "5.5.4", "parameter value not valid") }
func SenderSyntax() *mail.Reply    { return reply(501, "5.1.7", "bad sender address syntax") }
func RecipientSyntax() *mail.Reply { return reply(501, "5.1.3", "bad recipient address syntax") }
func SourceRoute() *mail.Reply {
	return reply(550, "5.7.1", "source routes are not followed, send the plain address")
}
func Literal() *mail.Reply {
	return reply(501, "5.1.3", "address literals are not accepted, send a domain name")
}
func TooManyRecipients() *mail.Reply {
	return reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
}
func NoPostmaster() *mail.Reply {
	return reply(550, "5.1.1", "<postmaster>: no postmaster address is configured here")
}

func XClientRefused() *mail.Reply  { return reply(550, "5.7.1", "XCLIENT is not for you") }
func XForwardRefused() *mail.Reply { return reply(550, "5.7.1", "XFORWARD is not for you") }

// TLS and authentication.

// TLSNotOffered answers STARTTLS on a listener without TLS (RFC 3207).
func TLSNotOffered() *mail.Reply { return reply(502, "5.5.1", "TLS is not offered here") }
func TLSActive() *mail.Reply     { return reply(503, "5.5.1", "TLS is active already") }
func TLSFirst() *mail.Reply      { return reply(530, "5.7.0", "must issue a STARTTLS command first") }
func AuthTLS() *mail.Reply {
	return reply(538, "5.7.11", "encryption required, send STARTTLS first")
}
func AuthNotOffered() *mail.Reply {
	return reply(503, "5.5.1", "authentication is not offered here")
}
func AuthDone() *mail.Reply { return reply(503, "5.5.1", "already authenticated") }
func AuthMechanism() *mail.Reply {
	return reply(504, "5.5.4", "authentication mechanism not offered")
}
func AuthDecode() *mail.Reply    { return reply(501, "5.5.2", "cannot decode the response") }
func AuthCancelled() *mail.Reply { return reply(501, "5.7.0", "authentication cancelled") }
func AuthFailed() *mail.Reply    { return reply(535, "5.7.8", "authentication failed") }
func AuthUnavailable() *mail.Reply {
	return reply(454, "4.7.0", "authentication not available, try again later")
}

// UserSuspended answers AUTH with a right password of a suspended user. left is the time to
// the end of the suspension; 0 or less: until the operator ends it.
func UserSuspended(left time.Duration) *mail.Reply {
	if left <= 0 {
		return reply(454, "4.7.0", "your user is suspended for unusual sending, ask the operator of this relay")
	}
	return reply(454, "4.7.0", fmt.Sprintf("your user is suspended for unusual sending, retry in %d seconds", seconds(left)))
}

// AuthSuspended ends a session from an address with too many failed logins; left is the
// wait.
func AuthSuspended(left time.Duration) *mail.Reply {
	return reply(421, "4.7.0", fmt.Sprintf("too many failed authentications from your address, retry in %d seconds", seconds(left)))
}
func TooManyAuth() *mail.Reply {
	return reply(421, "4.7.0", "too many failed authentications, closing the connection")
}

// Messages.

// BareNewline refuses a message with a CR or LF that is not part of CR LF.
func BareNewline() *mail.Reply {
	return reply(550, "5.5.2", "message holds a bare CR or LF; lines must end in CR LF")
}
func NUL() *mail.Reply { return reply(550, "5.5.2", "message holds a NUL octet") }
func LineTooLong() *mail.Reply {
	return reply(550, "5.5.2", "message holds a line that is too long")
}

// Attachment refuses a kind of attachment, as the configuration names it.
func Attachment(entry string) *mail.Reply {
	return reply(550, "5.7.1", "attachments of type "+entry+" are not allowed for this client")
}

// ListedLink refuses a message that links to a host, which is its own.
func ListedLink(host string) *mail.Reply {
	return reply(550, "5.7.1", "message links to a listed host: "+host)
}
func Ambiguous() *mail.Reply {
	return reply(550, "5.6.0", "structure of the message cannot be read for certain")
}
func LongLines() *mail.Reply {
	return reply(550, "5.5.2", "message holds a line over 998 octets")
}

// TooLarge refuses a message over [message] max_size, which is max octets.
func TooLarge(max int64) *mail.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("message is larger than %d octets", max))
}
func HeaderTooLarge() *mail.Reply { return reply(552, "5.3.4", "message header is too large") }
func FieldTooLarge() *mail.Reply {
	return reply(552, "5.3.4", "header field is too large")
}
func HeaderControl() *mail.Reply {
	return reply(550, "5.6.0", "message header holds a control character")
}
func HeaderSyntax() *mail.Reply {
	return reply(550, "5.6.0", "message header holds a line that is no header field")
}
func ClientSigned() *mail.Reply {
	return reply(550, "5.7.1", "message holds a DKIM-Signature of its own domain, send it unsigned")
}
func AuthorUTF8() *mail.Reply {
	return reply(550, "5.6.7", "an address in header From is not ASCII, send SMTPUTF8")
}
func Loop() *mail.Reply { return reply(554, "5.4.6", "too many hops, this message is in a loop") }

// Scanners.

// Scanned rejects a message on the word of a scanner. text is the scanner's own, without
// controls; "" where it gave none.
func Scanned(scanner, text string) *mail.Reply {
	return reply(550, "5.7.1", scannedText("message refused by "+scanner, text))
}

// ScannedLater is Scanned for a scanner that has the message come again.
func ScannedLater(scanner, text string) *mail.Reply {
	return reply(451, "4.7.1", scannedText("message refused for now by "+scanner, text))
}
func scannedText(who, text string) string {
	if text == "" {
		return who
	}
	return who + ": " + text
}
func Encrypted() *mail.Reply { return reply(550, "5.7.1", "message holds an encrypted archive") }
func Macros() *mail.Reply {
	return reply(550, "5.7.1", "message holds a document with macros")
}
func Unscannable() *mail.Reply { return reply(550, "5.7.1", "message cannot be scanned") }

// Hopeless refuses a message over which a working scanner failed again and again.
func Hopeless() *mail.Reply { return reply(554, "5.7.1", "message cannot be scanned") }
func ScanTooLarge() *mail.Reply {
	return reply(552, "5.3.4", "message is too large to be scanned")
}
func CannotScan() *mail.Reply {
	return reply(451, "4.7.1", "message cannot be scanned now, try again later")
}

// Several recipient domains.

// RecipientRemembered accepts a recipient who may have the message already.
func RecipientRemembered() *mail.Reply {
	return reply(250, "2.1.5", "recipient ok, a message for it was taken before")
}

// TakenBefore answers a message for a recipient who has had it since the transaction id.
func TakenBefore(id string) *mail.Reply { return reply(250, "2.0.0", "taken before as "+id) }

// Halved defers a message that was taken for only some of its recipients, taken of all.
func Halved(taken, all int) *mail.Reply {
	return reply(451, "4.5.3", fmt.Sprintf("taken for %d of %d recipients, send again for the rest", taken, all))
}

// HalvedUnwritten is Halved where those recipients could not be remembered and may get a
// second copy.
func HalvedUnwritten(taken, all int) *mail.Reply {
	return reply(451, "4.3.0", fmt.Sprintf("taken for %d of %d recipients, which could not be written down, send again for the rest", taken, all))
}

// Apart defers a recipient of a domain that needs a transaction of its own.
func Apart() *mail.Reply {
	return reply(452, "4.5.3", "a domain that has refused this sender needs a transaction of its own")
}

// CannotRemember defers a message to several domains where package halves is not ready.
func CannotRemember() *mail.Reply {
	return reply(451, "4.3.2", "several domains cannot be served now, try again later")
}

// Limits and suspensions.

// Pace defers mail of a sender that is over its own usual pace; left is the wait.
func Pace(who string, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: far over its usual volume, retry in %d seconds", who, seconds(left)))
}

// Suppressed refuses a recipient that is known not to exist.
func Suppressed(to mail.Address) *mail.Reply {
	return reply(550, "5.1.1", to.Shown()+": mailbox does not exist, its server has said so before")
}

// Backoff defers a recipient whose receiver asked for less mail; left is the wait.
func Backoff(to mail.Address, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: receiver takes no more mail for now, retry in %d seconds", to.Shown(), seconds(left)))
}

// Braked defers a recipient who is new to a sender under the brake; left is the wait.
func Braked(to mail.Address, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: more new recipients than usual, retry in %d seconds", to.Shown(), seconds(left)))
}

// BrakedSubmitter is Braked for a whole message, of the submitter who.
func BrakedSubmitter(who string, left time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: more new recipients than usual, retry in %d seconds", who, seconds(left)))
}

// NoMail refuses a recipient whose domain does not exist or, with nullMX, takes no mail
// (RFC 7505).
func NoMail(to mail.Address, nullMX bool) *mail.Reply {
	if nullMX {
		return reply(556, "5.1.10", to.Shown()+": domain takes no mail (null MX)")
	}
	return reply(550, "5.1.2", to.Shown()+": domain does not exist")
}

// Limit names the limit that is used up; unit is a plural, such as "messages".
func Limit(who, per, unit string, max int64, window string, retry time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: %s limit of %s in %s reached, retry in %d seconds",
		who, per, text.Count(max, strings.TrimSuffix(unit, "s"), unit), window, seconds(retry)))
}

// SharedLimit is Limit for a budget that others share: the client learns only the wait.
func SharedLimit(who string, retry time.Duration) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: relay limit reached, retry in %d seconds", who, seconds(retry)))
}

// Stopped defers mail under a limit of 0.
func Stopped(who, per, unit string) *mail.Reply {
	return reply(450, "4.7.1", fmt.Sprintf("%s: %s limit allows no %s at present", who, per, unit))
}

// NeverFits refuses a message that is larger than a whole limit in bytes, which is max
// octets.
func NeverFits(who, per string, max int64, window string) *mail.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("%s: message is larger than the whole %s limit of %d octets in %s", who, per, max, window))
}

// Suspended defers mail of a suspended sender, user or client; left is as for
// UserSuspended.
func Suspended(who string, left time.Duration) *mail.Reply {
	if left <= 0 {
		return reply(450, "4.7.1", fmt.Sprintf("%s: suspended for unusual sending, ask the operator of this relay", who))
	}
	return reply(450, "4.7.1", fmt.Sprintf("%s: suspended for unusual sending, retry in %d seconds", who, seconds(left)))
}

// HelpPage adds the page that the operator names to a reply; "" is none.
func HelpPage(r *mail.Reply, page string) *mail.Reply {
	if page == "" {
		return r
	}
	more := *r
	more.Text += ", see " + page
	return &more
}

// NoLongerClient defers a message that passed the rules when it began and does not pass
// those in force now.
func NoLongerClient() *mail.Reply {
	return reply(450, "4.7.1", "what you may send has changed, send the message again")
}

// NoLongerOwned defers a message whose sender its client no longer owns after a reload.
func NoLongerOwned(who string) *mail.Reply {
	return reply(450, "4.7.1", who+": who may send as this sender has changed, send the message again")
}

// seconds rounds up, so that a client that waits that long gets in.
func seconds(d time.Duration) int64 {
	return max(1, int64((d+time.Second-1)/time.Second))
}

// Faults: trouble of ours or behind us, always temporary, never explained to
// the client beyond its kind.

// Fault defers for trouble of ours that has no reply of its own.
func Fault() *mail.Reply { return reply(451, "4.3.0", "temporary fault, try again later") }

// StoreFault defers mail while the store of limits does not answer.
func StoreFault() *mail.Reply {
	return reply(451, "4.3.2", "limits cannot be checked now, try again later")
}
func Storage() *mail.Reply {
	return reply(452, "4.3.1", "no room for the message now, try again later")
}
func UpstreamDown() *mail.Reply {
	return reply(451, "4.4.1", "upstream cannot be reached now, try again later")
}
func UpstreamBusy() *mail.Reply {
	return reply(451, "4.4.5", "all connections to the upstream are in use now, try again later")
}
func UpstreamLost() *mail.Reply {
	return reply(451, "4.4.2", "upstream connection was lost, try again later")
}

// OwnField defers a message that the upstream refused for a header field of ours; see
// package ownfield.
func OwnField() *mail.Reply {
	return reply(451, "4.3.0", "upstream refuses a header field that this relay adds, try again later")
}

// VerdictChanged defers a message whose recipient the upstream took before and then
// refused.
func VerdictChanged() *mail.Reply {
	return reply(451, "4.4.2", "upstream changed its verdict on a recipient, try again later")
}
func CannotSign() *mail.Reply {
	return reply(451, "4.3.0", "message cannot be signed now, try again later")
}
