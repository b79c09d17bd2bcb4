package detector

import (
	"strings"

	"postern/mail"
)

// Scopes of who is watched, the narrowest first.
const (
	// UserSender is a reverse-path as one SASL user sends with it. Its name is that
	// of the user, a space, and the reverse-path. What the detector finds in the mail
	// of a user is of this scope, so that nobody is blamed for what another sends in
	// his name.
	UserSender = "user+sender"
	Sender     = "sender" // a reverse-path
	User       = "user"   // a SASL user
	// Mailbox is who has submitted a message to a client, as that tells: the name of
	// the client, "/", and a mailbox or script. It is counted as a user is.
	Mailbox = "submitter"
	Client  = "client" // a configured client
)

// Who is a sender, a sender as one user uses it, a user, a submitter or a client.
type Who struct{ Scope, Name string }

// PartyWho is a mail.Party by itself.
func PartyWho(party string) Who {
	if name, ok := mail.SubmitterOf(party); ok {
		return Who{Mailbox, name}
	}
	return Who{User, party}
}

// meterName is the name of w among the meters.
func (w Who) meterName() string {
	if w.Scope == Mailbox {
		return mail.Party("", w.Name)
	}
	return w.Name
}

// JoinNames is the name of a sender as one user uses it. A space in the name of the
// user, which no other letter of it can be taken for, is written "%20".
func JoinNames(user, sender string) string {
	return strings.ReplaceAll(user, " ", "%20") + " " + sender
}

// AppendNames is JoinNames without a new string.
func AppendNames(b []byte, user, sender string) []byte {
	for i := range len(user) {
		if user[i] == ' ' {
			b = append(b, "%20"...)
		} else {
			b = append(b, user[i])
		}
	}
	return append(append(b, ' '), sender...)
}

// SplitNames gives what JoinNames has put together; of a sender alone user is "".
func SplitNames(name string) (user, sender string) {
	user, sender, ok := strings.Cut(name, " ")
	if !ok {
		return "", name
	}
	return strings.ReplaceAll(user, "%20", " "), sender
}

// Parties are those that a message belongs to, the widest first; the ones without a
// name do not exist. sender is "" for the null reverse-path; user is a mail.Party.
func Parties(client, user, sender string) [4]Who {
	all := [...]Who{{Client, client}, PartyWho(user), {Scope: UserSender}, {Sender, sender}}
	if user != "" && sender != "" {
		all[2].Name = JoinNames(user, sender)
	}
	return all
}

// Submitter is whom a sender's mail is counted for first: the sender, with a user
// the sender as this user uses it.
func Submitter(user, sender string) Who {
	if user != "" {
		return Who{UserSender, JoinNames(user, sender)}
	}
	return Who{Sender, sender}
}

// scope is what a meter is of. Its numbers stand in files and in Redis.
type scope uint8

const (
	ofSender scope = iota
	ofUser
	ofClient
	ofUserNames   // the sender names that a user uses
	ofClientNames // the sender names that a client uses
	ofUserSender  // a sender as one user uses it, see JoinNames
	ofUserAlarms  // the senders of a user that are under alarm
	ofClientAlarms
	ofUserOthers // what a user sent that is the fault of a sender
	ofClientOthers
	scopes
)

// others is the scope of what a user or client sent that is another's fault.
func (sc scope) others() scope {
	if sc == ofUser {
		return ofUserOthers
	}
	return ofClientOthers
}

// alarms is the scope of the senders under alarm of a user or client.
func (sc scope) alarms() scope {
	if sc == ofUser {
		return ofUserAlarms
	}
	return ofClientAlarms
}

// isSender reports whether a scope is that of single senders.
func (sc scope) isSender() bool { return sc == ofSender || sc == ofUserSender }

// countsVolume reports whether a scope is that of what somebody sends, and not of
// the names that he uses or of the fault of others.
func (sc scope) countsVolume() bool {
	return sc == ofSender || sc == ofUser || sc == ofClient || sc == ofUserSender
}

// whose says whose the meters of a scope are.
func (sc scope) whose() string {
	switch sc {
	case ofUser, ofUserNames, ofUserAlarms, ofUserOthers:
		return User
	case ofClient, ofClientNames, ofClientAlarms, ofClientOthers:
		return Client
	case ofUserSender:
		return UserSender
	}
	return Sender
}

// meter is the scope of what w sends.
func (w Who) meter() scope {
	switch w.Scope {
	case User, Mailbox:
		return ofUser
	case Client:
		return ofClient
	case UserSender:
		return ofUserSender
	}
	return ofSender
}
