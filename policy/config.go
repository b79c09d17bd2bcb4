package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/policy/submitter"
)

// ClientConfig is one table [client.NAME]: who may submit, and as whom. Every
// condition that is written must hold; at least one of networks, users and
// certificates is needed. It has no Check of its own: Compile checks it, since
// a rule set that was not checked must not exist. Whether listeners and users
// that it names exist is for package config to say.
//
// A sender pattern with one address means the sender, however it is spelled:
// see mail.Identity. A tag as in "news+x" counts. Patterns of recipients that
// refuse go as far; those that allow, only as mail.RecipientID says.
type ClientConfig struct {
	// Networks in CIDR form from which the client connects; empty: no
	// condition on the address. Default empty.
	Networks []netip.Prefix `toml:"networks"`
	// Users are SASL users of which one must be authenticated, however they are
	// spelled (see mail.User); ["*"] is every user who is not another client's by
	// name; empty: no condition. Default empty.
	Users []string `toml:"users"`
	// Certificates are names (SAN) of which a verified TLS client certificate
	// must hold one; empty: no condition. Default empty.
	Certificates []string `toml:"certificates"`
	// Listeners are the names of those on which the client may connect; empty: all.
	// They narrow the other conditions and make nobody a client. Default empty.
	Listeners []string `toml:"listeners"`
	// RequireTLS asks for TLS on the connection whatever the listener says.
	// Default false.
	RequireTLS bool `toml:"require_tls"`

	// Senders that the client owns: "news@example.org", "@example.org" (that
	// domain), "@*.example.org" (every domain below it, not itself). Reverse-path
	// and header From must be among them. With users also "{user}@example.org", the
	// address that each user has in that domain, and "{user}", the name of the user
	// where that is an address. Empty: the client can send nothing. Default empty.
	Senders []string `toml:"senders"`
	// Stream by which its mail leaves. It must name a table [stream.NAME]. No default.
	Stream string `toml:"stream"`
	// NullSender says what happens to the null reverse-path: "reject", "limit"
	// (up to null_sender_limit) or "allow". Default "limit".
	NullSender NullSender `toml:"null_sender"`
	// NullSenderLimit holds the limits in messages for null_sender = "limit" and,
	// unless that is "allow", for reports and receipts with another reverse-path,
	// counted per client. Default ["20/1h"].
	NullSenderLimit []string `toml:"null_sender_limit"`
	// HideClient leaves the client's address and HELO name out of Received.
	// Default false.
	HideClient bool `toml:"hide_client"`
	// KeepBcc lets the fields Bcc and Resent-Bcc (RFC 5322 s. 3.6.3) leave as they came,
	// for MTAs that have already dealt with them; else they are taken out. Default false.
	KeepBcc bool `toml:"keep_bcc"`

	// Retries says that the client keeps a message that was deferred and sends it again,
	// as an MTA does. With false the watch does not brake its mail to new recipients, see
	// [outlier] brake. Default true.
	Retries bool `toml:"retries"`

	// LongLines says what happens to a message with a line over 998 octets (RFC 5322
	// s. 2.1.1) that cannot be folded, such as any line of the body: "pass", and the event
	// counts the lines, or "refuse". Default "pass".
	LongLines LongLines `toml:"long_lines"`

	// Forms says which forms of commands and messages are taken: "strict", those of
	// the standards, or "lenient", for devices that cannot be mended: what they send is
	// rewritten in the standard form and then judged like all other mail. Before AUTH or a
	// certificate tells who the client is, only addresses in Networks may use lenient
	// forms. Default "strict".
	Forms Forms `toml:"forms"`

	AttachmentConfig

	// RefuseRecipients are patterns of recipients, as in senders, that are
	// refused; empty: none. Default empty.
	RefuseRecipients []string `toml:"refuse_recipients"`
	// AllowRecipients are patterns outside of which all recipients are refused;
	// empty: every recipient is allowed. Default empty.
	AllowRecipients []string `toml:"allow_recipients"`
	// AddressLiterals allows recipients at address literals, as in
	// root@[192.0.2.1]. Default false.
	AddressLiterals bool `toml:"address_literals"`

	// FromMismatch says what happens when header From holds an author that the
	// client does not own: "reject", or "shadow" to log it and let it pass without
	// a signature, unless the domain of an author must be signed. A From that
	// cannot be read for certain is refused in both. Default "reject".
	FromMismatch Mismatch `toml:"from_mismatch"`
	// Forwards says which mail may pass with an author whom the client does not own,
	// since it is forwarded: "srs", a reverse-path in the form of SRS, and
	// "list:LIST-ID", one field List-Id with that identifier. The reverse-path must
	// be in senders. Such mail is not signed, and it is refused where the domain of
	// an author must be signed. Empty: none. Default empty.
	Forwards []string `toml:"forwards"`
	// DisplayNameAddress says what happens to a display name in From that holds
	// another address, or is encoded so that it may: "allow" or "reject". Default
	// "allow".
	DisplayNameAddress Switch `toml:"display_name_address"`
	// CheckSender asks that the field Sender is among senders as well, and in plain form,
	// since it leaves as it came. Default false.
	CheckSender bool `toml:"check_sender"`
	// CheckResentFrom asks the same of Resent-From and Resent-Sender. Default false.
	CheckResentFrom bool `toml:"check_resent_from"`
	// CheckReplyTo asks the same of Reply-To. Default false.
	CheckReplyTo bool `toml:"check_reply_to"`
	// DuplicateFields says what happens when a field that may stand once (Date,
	// Subject, To, Cc, Message-ID, Reply-To, Sender...; RFC 5322 s. 3.6) occurs twice:
	// "reject" or "allow". From may never occur twice. Default "reject".
	DuplicateFields Switch `toml:"duplicate_fields"`
	// AutomaticReplies says what happens to automatic replies, reports and
	// receipts for recipients outside internal_domains: "reject",
	// "once_per_recipient/7d" (one reply of each author to each recipient in that
	// time) or "allow". Reports and receipts count on null_sender_limit instead of
	// going once. Default "once_per_recipient/7d".
	AutomaticReplies AutomaticReplies `toml:"automatic_replies"`
	// AutomaticNotices says the same for mail that calls itself auto-generated or
	// auto-notified and answers nothing, such as alerts and password resets. Default "allow".
	AutomaticNotices AutomaticReplies `toml:"automatic_notices"`

	SubmitterConfig

	// Watch names how the outlier watch looks at its mail: "none", "standard",
	// "strict", or a table [outlier.policy.NAME]. Default "standard".
	Watch string `toml:"watch"`
}

// SubmitterConfig says how the client tells which of its own users has submitted a
// message.
type SubmitterConfig = submitter.Config

// SetDefaults sets what a key that is not written means.
func (c *ClientConfig) SetDefaults() {
	*c = ClientConfig{
		NullSender:         LimitNull,
		NullSenderLimit:    []string{"20/1h"},
		FromMismatch:       RejectMismatch,
		DisplayNameAddress: Allow,
		DuplicateFields:    Reject,
		AutomaticReplies:   AutomaticReplies{Mode: OncePerRecipient, Period: 7 * day},
		AutomaticNotices:   AutomaticReplies{Mode: AllowReplies},
		Retries:            true,
		LongLines:          PassLong,
		Forms:              StrictForms,
		AttachmentConfig:   AttachmentConfig{RefuseAmbiguous: true},
		SubmitterConfig:    SubmitterConfig{HideSubmitter: true},
		Watch:              "standard",
	}
}

// AttachmentConfig says which attachments are refused. It stands in the tables of clients
// and of streams. With refuse_attachments empty and refuse_encrypted false no message is
// looked into.
type AttachmentConfig struct {
	// RefuseAttachments are extensions such as "exe", which are also told by the
	// first octets of a file, and patterns of whole names such as "invoice*.zip"; by
	// any name that a reader may show, and in ZIP, RAR and 7z archives, too. Empty:
	// none. Default empty.
	RefuseAttachments []string `toml:"refuse_attachments"`
	// RefuseEncrypted refuses archives and documents that need a password: ZIP, RAR,
	// 7z, Office and PDF. Default false.
	RefuseEncrypted bool `toml:"refuse_encrypted"`
	// RefuseAmbiguous refuses messages that can be read in two ways. It holds where
	// one of the other two keys of its table is set. Default true.
	RefuseAmbiguous bool `toml:"refuse_ambiguous"`
}

// looks reports whether anything is looked for.
func (c *AttachmentConfig) looks() bool { return len(c.RefuseAttachments) > 0 || c.RefuseEncrypted }

// and is what both refuse.
func (c AttachmentConfig) and(d AttachmentConfig) AttachmentConfig {
	return AttachmentConfig{
		RefuseAttachments: slices.Concat(c.RefuseAttachments, d.RefuseAttachments),
		RefuseEncrypted:   c.RefuseEncrypted || d.RefuseEncrypted,
		RefuseAmbiguous:   c.looks() && c.RefuseAmbiguous || d.looks() && d.RefuseAmbiguous,
	}
}

// StreamConfig is the part of a table [stream.NAME] that policy reads.
type StreamConfig struct {
	// RefuseRecipients and AllowRecipients are as for a client and hold for
	// every client of the stream. Default empty: none is refused.
	RefuseRecipients []string `toml:"refuse_recipients"`
	AllowRecipients  []string `toml:"allow_recipients"`
	AttachmentConfig

	// RequireListUnsubscribe asks for a way out in every message of the stream:
	// "no", "yes" (List-Unsubscribe) or "one-click" (RFC 8058: an https link and
	// List-Unsubscribe-Post). Default "no".
	RequireListUnsubscribe Unsubscribe `toml:"require_list_unsubscribe"`
}

// SetDefaults sets what a key that is not written means.
func (c *StreamConfig) SetDefaults() {
	*c = StreamConfig{RequireListUnsubscribe: NoUnsubscribe, AttachmentConfig: AttachmentConfig{RefuseAmbiguous: true}}
}

// NullSender says what a client may do with the null reverse-path.
type NullSender string

// The values of null_sender. The zero value counts as RejectNull.
const (
	RejectNull NullSender = "reject"
	LimitNull  NullSender = "limit"
	AllowNull  NullSender = "allow"
)

// UnmarshalText takes one of the values and nothing else.
func (v *NullSender) UnmarshalText(b []byte) error {
	return text.OneOf(v, b, RejectNull, LimitNull, AllowNull)
}

// Mismatch says what happens to a header From that the client does not own.
type Mismatch string

// The values of from_mismatch. The zero value counts as RejectMismatch.
const (
	RejectMismatch Mismatch = "reject"
	ShadowMismatch Mismatch = "shadow"
)

// UnmarshalText takes one of the values and nothing else.
func (v *Mismatch) UnmarshalText(b []byte) error {
	return text.OneOf(v, b, RejectMismatch, ShadowMismatch)
}

// LongLines says what happens to lines that a next hop may cut.
type LongLines string

// The values of long_lines. The zero value counts as PassLong.
const (
	PassLong   LongLines = "pass"
	RefuseLong LongLines = "refuse"
)

// UnmarshalText takes one of the values and nothing else.
func (v *LongLines) UnmarshalText(b []byte) error { return text.OneOf(v, b, PassLong, RefuseLong) }

// Switch lets something pass or not.
type Switch string

// The values of a switch. The zero value counts as Reject.
const (
	Reject Switch = "reject"
	Allow  Switch = "allow"
)

// UnmarshalText takes one of the values and nothing else.
func (v *Switch) UnmarshalText(b []byte) error { return text.OneOf(v, b, Reject, Allow) }

// Unsubscribe is the way out that a stream's messages must offer.
type Unsubscribe string

// The values of require_list_unsubscribe. The zero value counts as
// NoUnsubscribe.
const (
	NoUnsubscribe  Unsubscribe = "no"
	AnyUnsubscribe Unsubscribe = "yes"
	OneClick       Unsubscribe = "one-click"
)

// UnmarshalText takes one of the values and nothing else.
func (v *Unsubscribe) UnmarshalText(b []byte) error {
	return text.OneOf(v, b, NoUnsubscribe, AnyUnsubscribe, OneClick)
}

// ReplyMode is the mode of an AutomaticReplies.
type ReplyMode string

// The modes of automatic_replies. The zero value counts as RejectReplies.
const (
	RejectReplies    ReplyMode = "reject"
	OncePerRecipient ReplyMode = "once_per_recipient"
	AllowReplies     ReplyMode = "allow"
)

// AutomaticReplies is the value of automatic_replies: a mode, and with
// OncePerRecipient the time in which a recipient gets one.
type AutomaticReplies struct {
	Mode   ReplyMode
	Period time.Duration
}

// UnmarshalText takes "reject", "allow" and "once_per_recipient/7d"; the period
// is a whole number with s, m, h or d, from a minute to 366 days.
func (v *AutomaticReplies) UnmarshalText(b []byte) error {
	mode, period, timed := strings.Cut(string(b), "/")
	switch m := ReplyMode(mode); {
	case !timed && (m == RejectReplies || m == AllowReplies):
		*v = AutomaticReplies{Mode: m}
		return nil
	case !timed || m != OncePerRecipient:
		return fmt.Errorf(`unknown value %q; write "reject", "allow" or "once_per_recipient/7d"`, b)
	}
	d, ok := parsePeriod(period)
	if !ok {
		return fmt.Errorf(`unknown period %q; write a whole number with s, m, h or d from 1m to 366d, as in "once_per_recipient/7d"`, period)
	}
	*v = AutomaticReplies{Mode: OncePerRecipient, Period: d}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (v AutomaticReplies) MarshalText() ([]byte, error) {
	if v.Mode == OncePerRecipient {
		return []byte(string(v.Mode) + "/" + formatPeriod(v.Period)), nil
	}
	return []byte(v.Mode), nil
}

const day = 24 * time.Hour

var units = []struct {
	letter string
	length time.Duration
}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

func parsePeriod(s string) (time.Duration, bool) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 25) // 366 days are fewer seconds
		d := time.Duration(n) * u.length
		return d, err == nil && d >= time.Minute && d <= 366*day
	}
	return 0, false
}

func formatPeriod(d time.Duration) string {
	for _, u := range units {
		if d%u.length == 0 {
			return strconv.FormatInt(int64(d/u.length), 10) + u.letter
		}
	}
	return d.String()
}
