package mail

import "strings"

// submitterMark begins the name of a submitter where it stands in the place of a user.
// No SASL user has such a name: [user] and XCLIENT refuse it.
const submitterMark = "submitter:"

// Party is who submitted a message, as far as is known, in one word:
// "submitter:CLIENT/NAME" where its client has named the submitter ("CLIENT/NAME"), else the
// SASL user; "" where there is neither.
func Party(user, submitter string) string {
	if submitter != "" {
		return submitterMark + submitter
	}
	return user
}

// SubmitterOf is the submitter "CLIENT/NAME" that a Party stands for; ok is false for a
// user, and submitter is then the party itself.
func SubmitterOf(party string) (submitter string, ok bool) {
	return strings.CutPrefix(party, submitterMark)
}

// IsUserName reports whether a SASL user may have this name, which is in the form that User
// returns: a name that looks like the Party of a submitter is not allowed.
func IsUserName(name string) bool {
	_, is := SubmitterOf(name)
	return !is
}
