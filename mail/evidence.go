package mail

import "time"

// Evidence is what the refusal of an upstream is worth: who says it, when and
// about whom. Package upstream makes it once, where the reply is read, and
// nobody reads it out of a text again. What it may change follows from it: only
// what the next hop itself says changes anything, and only for whom it is about.
type Evidence struct {
	// Remote: the next hop passes on what another host has told it. That is
	// hearsay, which anybody who owns a domain can write.
	Remote bool `json:"remote,omitempty"`
	// At is the command that was answered: connect, ehlo, auth, mail, rcpt, dot
	// (DATA and all behind it).
	At    string `json:"at"`
	About About  `json:"about,omitempty"`
	// Domain is that of the recipients, where the host is one of its own exchangers:
	// whatever it says is that domain's word, and of no other receiver. Blank where
	// mail goes to a configured upstream.
	Domain string `json:"domain,omitempty"`
	// Provider is the group of receivers that the host is one of, by its name in the MX
	// record. Blank: none, and where mail goes to a configured upstream.
	Provider string `json:"provider,omitempty"`
	// SourceIP is our address that the host has seen, where Domain is known; blank where
	// the system has chosen it.
	SourceIP string `json:"source_ip,omitempty"`
	// Several: the message was for recipients of several domains.
	Several bool          `json:"several,omitempty"`
	Class   Class         `json:"class"`          // what the reply means
	List    string        `json:"list,omitempty"` // blocklist that the reply names; "" when it names none
	Wait    time.Duration `json:"wait,omitempty"` // nanoseconds that the reply asks for; 0 when it names no time
	// Doubt says that the class is not sure. With ClassNoSuchUser the reply may also hint
	// at trouble of the receiver (LDAP, a look-up, policy, "later", 5.4.1), and nothing
	// lasting follows from it. With ClassOther and ClassTemporaryFault the meaning of the
	// reply is not known.
	Doubt bool `json:"doubt,omitempty"`
	// By says what decided the class: "rule NAME", or how sure it is (0 to 1) and the words
	// that weighed most, such as "0.97: pair:ip+list 0.74, word:blacklisted 0.61".
	By string `json:"by,omitempty"`
	// Reply is the whole reply. Blank where the event holds the reply in a field of its own.
	Reply string `json:"reply,omitempty"`
}

// About says whom a refusal is about.
type About string

// Values of About: a refusal changes nothing for anybody but the one it is about.
const (
	AboutNobody    About = ""          // the message, or nobody knows
	AboutUs        About = "us"        // our address, name or amount of mail
	AboutSender    About = "sender"    // the reverse-path, or the account behind it
	AboutRecipient About = "recipient" // this one alone
)
