package relay

import (
	"slices"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
)

// Clients with forms = "lenient" are devices that cannot be mended. What they send
// is written anew in the forms of the standards, here and by package syntax, before
// anything is judged: rules, limits, signature and upstream see nothing else.

// What of a transaction was written anew, as the event tells it.
const (
	anewPath     = "path"     // of MAIL or RCPT
	anewNewlines = "newlines" // bare LF in the message
	anewHeader   = "header"   // ended by a line that is not a field
	anewFrom     = "from"     // made of the reverse-path
)

func (t *transaction) writtenAnew(what string) {
	if !slices.Contains(t.ev.Rewritten, what) {
		t.ev.Rewritten = append(t.ev.Rewritten, what)
	}
}

// mailCommand reads the argument of MAIL.
func (t *transaction) mailCommand(arg string) (mail.Envelope, error) {
	env, err := syntax.MailCommand(arg)
	if err == nil || !t.snap.Rules.LenientAtMail(t.peer) {
		return env, err
	}
	if env, err = syntax.LenientMail(arg); err == nil {
		t.writtenAnew(anewPath)
	}
	return env, err
}

// rcptCommand reads the argument of RCPT; ok is false where it is not TO:.
func (t *transaction) rcptCommand(arg string) (r mail.Recipient, path string, ok bool, err error) {
	literals := t.client.AddressLiterals()
	if path, ok = syntax.CutKeyword(arg, "TO:"); ok {
		if r, err = syntax.RcptCommand(path, t.env.UTF8, literals); err == nil {
			return r, path, true, nil
		}
	}
	if !t.client.Lenient() {
		return r, path, ok, err
	}
	if path, ok = syntax.CutKeyword(strings.TrimLeft(arg, " \t"), "TO:"); !ok {
		return r, path, false, nil
	}
	if r, err = syntax.LenientRcpt(path, t.env.UTF8, literals); err == nil {
		t.writtenAnew(anewPath)
	}
	return r, path, true, err
}

// readAuthors is how the authors of From are read.
func (t *transaction) readAuthors() policy.ReadAuthors {
	if t.client.Lenient() {
		return syntax.LenientAuthors
	}
	return syntax.AppendAuthors
}

// completeFrom gives the header of a lenient client an author where it has none: the
// reverse-path, which is the client's. It returns nil where it leaves the header.
func (t *transaction) completeFrom() []byte {
	m := &t.message
	if !t.client.Lenient() || m.header.HasAuthor() || t.env.From.IsNull() {
		return nil
	}
	t.writtenAnew(anewFrom)
	b := m.header.AppendAuthor(make([]byte, 0, len(m.raw)+1<<9), t.env.From)
	return append(b, m.raw[m.header.Size():]...)
}
