package syntax

import "postern/mail"

// User is the one form of a SASL user name, as mail.User says: two names that
// have the same are one user.
func User(name string) string {
	return mail.User(name, func(s string) (mail.Address, error) { return LenientMailbox(s, true) })
}
