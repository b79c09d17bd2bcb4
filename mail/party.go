package mail

import "strings"

// submitterMark begins the name of a submitter where it stands in the place of a user.
// No SASL user has such a name: [user] and XCLIENT refuse it.
const submitterMark = "submitter:"

// Party is who has submitted a message, as far as is known, in one word: the submitter
// whom its client has told, as "submitter:CLIENT/NAME", else the SASL user; "" where
// there is neither.
func Party(user, submitter string) string {
	if submitter != "" {
		return submitterMark + submitter
	}
	return user
}

// SubmitterOf is the submitter that a Party is; ok is false for a user.
func SubmitterOf(party string) (submitter string, ok bool) {
	return strings.CutPrefix(party, submitterMark)
}

// IsUserName reports whether a SASL user may have a name, as User returns it: one that
// cannot be taken for a submitter.
func IsUserName(name string) bool {
	_, is := SubmitterOf(name)
	return !is
}
