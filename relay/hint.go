package relay

import (
	"errors"
	"fmt"
	"time"

	"postern/mail"
	"postern/policy/submitter"
)

// errUnmarked: a client whose Received lines are to tell the submitter has handed in
// a message without one.
var errUnmarked = errors.New("the topmost Received line is not by this client, so that its lines are not believed for a day")

// hint notes who has submitted the message to the client, as far as that tells.
func (t *transaction) hint() {
	r := t.client.Submitter()
	if r == nil {
		return
	}
	ip, now := t.peer.Addr.Addr(), time.Now()
	h := r.Read(t.fields, submitter.Asked{
		EHLO: t.peer.Helo, Forwarded: t.forwarded, Doubted: t.srv.marks.Doubted(t.client.Name(), ip, now),
	})
	if h.Unmarked && t.srv.marks.Missed(t.client.Name(), ip, now) {
		t.srv.fault("submitter", fmt.Errorf("client %s, host %s, EHLO %s: %w", t.client.Name(), mail.AddrText(ip), t.peer.Helo, errUnmarked), "id", t.ev.ID)
	}
	t.ev.Submitter, t.ev.SubmitterDoubt = h.Name, h.Doubt
	if h.Addr.IsValid() {
		t.ev.SubmitterIP = h.Addr.String()
	}
}

// fields yields the names and bodies of the header, the topmost first.
func (t *transaction) fields(yield func(name, body []byte) bool) {
	for i := range t.message.header {
		if f := &t.message.header[i]; !yield(f.Name(), f.Body()) {
			return
		}
	}
}
