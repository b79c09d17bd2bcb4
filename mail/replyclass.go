package mail

import "slices"

// Class says what a reply of an upstream or receiver means to an operator; ""
// where nothing was refused. Package upstream/replies finds it.
type Class string

// Classes of replies, in the order of ReplyClasses.
const (
	ClassListedIP        Class = "listed-ip"                // our address or network is on a list, or its reputation is called bad
	ClassListedDomain    Class = "listed-domain"            // the same for a domain of ours
	ClassListedContent   Class = "listed-content"           // a URL or attachment in the message is on a list
	ClassPolicyAuth      Class = "policy-auth"              // SPF, DKIM or DMARC failed, is missing or not aligned
	ClassPTR             Class = "ptr"                      // reverse DNS or EHLO name
	ClassRateLimited     Class = "rate-limited-by-receiver" // too much, too fast, or too many complaints
	ClassGreylisted      Class = "greylisted"               // come back later, nothing is wrong
	ClassNoSuchUser      Class = "no-such-user"             // mailbox or domain does not exist
	ClassMailboxFull     Class = "mailbox-full"             // over quota
	ClassMailboxDisabled Class = "mailbox-disabled"         // exists or existed, takes no mail now
	ClassSenderRejected  Class = "sender-rejected"          // this sender is not wanted or cannot exist
	ClassRelayDenied     Class = "relay-denied"             // not responsible, or authentication is asked for
	ClassContentSpam     Class = "content-spam"             // judged to be spam
	ClassContentVirus    Class = "content-virus"            // malware, or a forbidden attachment type
	ClassTooLarge        Class = "size"                     // message, header or attachment too large
	ClassTLSRequired     Class = "tls-required"             // TLS or better TLS is needed
	ClassTemporaryFault  Class = "temporary-fault"          // their trouble
	ClassOther           Class = "other"                    // everything else, and what no rule knows
)

// ReplyClasses returns all classes that a reply can have, in the order in which they are
// tried: a reply gets the first one that fits. The slice is the caller's.
func ReplyClasses() []Class {
	return []Class{ClassListedIP, ClassListedDomain, ClassListedContent, ClassPolicyAuth, ClassPTR, ClassRateLimited, ClassGreylisted, ClassNoSuchUser, ClassMailboxFull,
		ClassMailboxDisabled, ClassSenderRejected, ClassRelayDenied, ClassContentSpam, ClassContentVirus, ClassTooLarge, ClassTLSRequired, ClassTemporaryFault, ClassOther}
}

// OfReply reports whether a reply can have this class: it is one of ReplyClasses.
func (c Class) OfReply() bool { return slices.Contains(ReplyClasses(), c) }

// ClassCredentials is the class of a fault, not of a reply to the mail: the upstream
// does not take our user name and password.
const ClassCredentials Class = "credentials"

// ClassToken is the class of a fault: the provider gave us no access token for
// the upstream (OAuth 2.0).
const ClassToken Class = "token"

// Listed reports whether a reply of this class says that we, or a part of the
// message, are on a list.
func (c Class) Listed() bool {
	return c == ClassListedIP || c == ClassListedDomain || c == ClassListedContent
}
