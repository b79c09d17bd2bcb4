package node

import (
	"testing"

	"postern/mail"
)

// TestUnsureRepliesAreKept: what nobody understood is kept whether it was permanent or
// temporary; what a rule or the words decided is not.
func TestUnsureRepliesAreKept(t *testing.T) {
	for _, c := range []struct {
		said *mail.Evidence
		want bool
	}{
		{nil, false},
		{&mail.Evidence{Class: mail.ClassOther, Doubt: true}, true},
		{&mail.Evidence{Class: mail.ClassTemporaryFault, Doubt: true}, true},
		{&mail.Evidence{Class: mail.ClassTemporaryFault}, false},
		{&mail.Evidence{Class: mail.ClassNoSuchUser, Doubt: true}, false},
	} {
		if got := unsure(c.said); got != c.want {
			t.Errorf("%+v: %v", c.said, got)
		}
	}
}
