package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"postern/internal/access"
	"postern/internal/api"
	"postern/internal/explain"
	"postern/mail"
)

// story is one message, told in words.
type story struct {
	ID      string
	Row     foundRow
	Lines   []storyLine
	Now     []string // what would stop such mail now
	NowGoes bool     // nothing would
	Problem string   // why Now is not known
}

// storyLine is one subject of a message.
type storyLine struct {
	Key   string
	Texts []string
}

// eventPage tells one message.
func (c *Console) eventPage(w http.ResponseWriter, v *visit) {
	ctx, id := v.request.Context(), v.request.PathValue("id")
	node := v.request.URL.Query().Get("node")
	e, err := v.event(ctx, node, id)
	var no *api.Problem
	switch {
	case errors.As(err, &no):
		c.problem(w, v, no.Status, no.Detail)
		return
	case err != nil:
		c.problem(w, v, http.StatusBadGateway, err.Error())
		return
	}
	s := story{ID: clean(id), Row: v.foundRow(&e, ""), Lines: v.lines(&e)}
	switch {
	case node != "":
		s.Problem = "it is in the journal of node " + clean(node) + ", whose own console tells it"
	case e.Client != "":
		now, err := v.wouldGetNow(&e)
		s.Now, s.NowGoes = v.all(now), err == nil && len(now) == 0
		if err != nil {
			s.Problem = clean(err.Error())
		}
	}
	c.show(w, http.StatusOK, "event.html", v.frame("Message "+s.ID, s))
}

// event is one of the journal, here or of another node.
func (v *visit) event(ctx context.Context, node, id string) (mail.Event, error) {
	if node == "" {
		return v.api.Event(ctx, api.EventQuery{ID: id})
	}
	e, err := v.peers.Event(node, id)
	if err == nil && !v.maySee(&e) {
		err = fmt.Errorf("node %s has no message %s", node, id)
	}
	return e, err
}

// wouldGetNow asks about the true recipients, also for who may not see them: its words
// are masked.
func (v *visit) wouldGetNow(e *mail.Event) ([]string, error) {
	ctx := v.request.Context()
	if v.Masked() {
		who := v.Caller
		who.Role = access.Operate
		whole, err := v.api.Event(access.With(ctx, who), api.EventQuery{ID: e.ID})
		if err != nil {
			return nil, err
		}
		e = &whole
	}
	ctx, cancel := context.WithTimeout(ctx, budgetsMost)
	defer cancel()
	return v.Data.Now(ctx, e)
}

// lines tell an event, those of the same subject together.
func (v *visit) lines(e *mail.Event) (lines []storyLine) {
	for text := range strings.SplitSeq(strings.TrimSuffix(explain.Event(e), "\n"), "\n") {
		key, words := text, ""
		if len(text) > keyWidth {
			key, words = text[:keyWidth], text[keyWidth:]
		}
		key = strings.TrimSpace(key)
		if n := len(lines); n > 0 && lines[n-1].Key == key {
			lines[n-1].Texts = append(lines[n-1].Texts, clean(words))
			continue
		}
		lines = append(lines, storyLine{clean(key), []string{clean(words)}})
	}
	return lines
}

// keyWidth is how wide explain writes the subject of a line.
const keyWidth = 12
