package node

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"

	"postern/internal/config"
	"postern/mail"
	"postern/upstream/replies/unknown"
)

// unknownReplies keeps what upstreams said that nobody understood.
type unknownReplies struct{ store *unknown.Store }

func (n *Node) openUnknown(file *config.File) unknownReplies {
	store, err := unknown.Open(filepath.Join(file.StateDir, unknown.FileName))
	if err != nil {
		n.log.Error("unknown replies begin anew", "err", err)
	}
	n.run(func(ctx context.Context) {
		n.every(ctx, saveEvery, func() { n.stateWritten("unknown replies", store.Save()) })
	})
	return unknownReplies{store}
}

// Observe takes in refusals of which nothing sure is known.
func (u unknownReplies) Observe(e *mail.Event) {
	for _, s := range e.AllSaid() {
		if unsure(s) {
			u.add(e, s, s.Reply, "")
		}
	}
	for i := range e.To {
		if r := &e.To[i]; r.Rule == "upstream" && unsure(r.Said) {
			u.add(e, r.Said, cmp.Or(r.Said.Reply, upstreamReply(r)), r.Address)
			if r.Said.At == "dot" {
				return // the same reply for all
			}
		}
	}
}

func unsure(s *mail.Evidence) bool {
	return s != nil && s.Doubt && (s.Class == mail.ClassOther || s.Class == mail.ClassTemporaryFault)
}

func (u unknownReplies) add(e *mail.Event, s *mail.Evidence, reply, to string) {
	guess, _, _ := strings.Cut(strings.TrimPrefix(s.By, "perhaps "), ":")
	if !strings.HasPrefix(s.By, "perhaps ") {
		guess = ""
	}
	u.store.Add(&unknown.Reply{Time: e.Time, Stage: s.At, Text: reply, Domain: domainOf(to), Guess: guess,
		Hide: []string{localOf(to), localOf(e.From), to, e.From}})
}

// localOf is the local-part of an address.
func localOf(address string) string { return address[:max(0, strings.LastIndexByte(address, '@'))] }
