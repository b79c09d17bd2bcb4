package console

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"postern/internal/explain"
	"postern/internal/find"
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
	id := v.request.PathValue("id")
	rows, _, err := v.findRows([]find.Query{{QueueID: id}}, pageSize)
	i := slices.IndexFunc(rows, func(r foundRow) bool { return r.ID == id })
	switch {
	case err != nil:
		c.problem(w, v, http.StatusServiceUnavailable, err.Error())
		return
	case i < 0:
		c.problem(w, v, http.StatusNotFound, "The journal holds no message "+id+".")
		return
	}
	e := rows[i].event
	s := story{ID: clean(id), Row: rows[i], Lines: v.lines(e)}
	if e.Client != "" {
		ctx, cancel := context.WithTimeout(v.request.Context(), budgetsMost)
		defer cancel()
		now, err := v.Data.Now(ctx, e)
		s.Now, s.NowGoes = v.all(now), err == nil && len(now) == 0
		if err != nil {
			s.Problem = clean(err.Error())
		}
	}
	c.show(w, http.StatusOK, "event.html", v.frame("Message "+s.ID, s))
}

// lines tell an event, those of the same subject together.
func (v *visit) lines(e *mail.Event) (lines []storyLine) {
	if v.masks() {
		e = masked(e)
	}
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

// masked is an event without its recipients' names, wherever they may stand.
func masked(e *mail.Event) *mail.Event {
	m := *e
	m.To = slices.Clone(e.To)
	for i := range m.To {
		t := &m.To[i]
		t.Address, t.Reply, t.Rule = maskAddress(t.Address), maskText(t.Reply), maskText(t.Rule)
	}
	m.Reply, m.Err, m.Rule = maskText(e.Reply), maskText(e.Err), maskText(e.Rule)
	m.Scans = slices.Clone(e.Scans)
	for i := range m.Scans {
		m.Scans[i].Text, m.Scans[i].Err = maskText(m.Scans[i].Text), maskText(m.Scans[i].Err)
	}
	return &m
}
