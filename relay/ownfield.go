package relay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/ownfield"
)

// errOwnField: the upstream refuses the message because of a header field that we
// have added to it.
var errOwnField = errors.New("upstream refuses a header field that we add")

// ownField is non-nil where a permanent reply to the message is about a field of
// ours. The client has made no mistake and keeps the message; whose reply it may
// be, or what it repeats, decides about nothing else than this one.
func (t *transaction) ownField(r *mail.Reply) error {
	if !r.Permanent() || r.Said != nil && r.Said.Remote {
		return nil
	}
	left := t.message.left()
	field := ownfield.Blamed(r.String(), ownfield.Message{
		Added: t.addedFields(),
		Count: left.Count,
		Wrote: t.wroteInHeader,
	})
	if field == "" {
		return nil
	}
	return fmt.Errorf("%w, %s: %q", errOwnField, field, r.String())
}

// addedFields are the names of the fields that the message left with because of us.
func (t *transaction) addedFields() []string {
	names := []string{"Received"}
	for _, name := range []string{"Date", "Message-ID"} {
		if t.message.header.Count(name) == 0 {
			names = append(names, name)
		}
	}
	if len(t.ev.Signed) > 0 {
		names = append(names, "DKIM-Signature")
	}
	if t.scanned != nil {
		for _, f := range t.scanned.Fields {
			names = append(names, string(f.Name))
		}
	}
	return names
}

// wroteInHeader reports whether the client wrote a text, in lower case, into its
// envelope, its name or the value of a field.
func (t *transaction) wroteInHeader(text string) bool {
	has := func(b []byte) bool { return bytes.Contains(bytes.ToLower(b), []byte(text)) }
	return has([]byte(t.peer.Helo)) || has([]byte(t.env.From.Key())) ||
		slices.ContainsFunc(t.env.To, func(r mail.Recipient) bool { return has([]byte(r.Key())) }) ||
		slices.ContainsFunc(t.message.header, func(f syntax.Field) bool { return has(f.Body()) })
}
