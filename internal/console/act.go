package console

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/internal/api"
	"postern/outlier"
	"postern/ratelimit"
)

// act carries out what a form asks for, by the API and in the name of who sent it. It
// answers with the way to the page, which tells what was done.
func (c *Console) act(w http.ResponseWriter, v *visit) {
	acts := map[string]func() (string, error){"release": v.release, "extend": v.extend, "resume": v.resume, "allow": v.allow, "unallow": v.unallow, "undo": v.undo}
	do := acts[v.request.PathValue("what")]
	if do == nil {
		c.problem(w, v, http.StatusNotFound, "There is nothing of that name to do.")
		return
	}
	said, err := do()
	var no *api.Problem
	switch {
	case errors.As(err, &no):
		c.problem(w, v, no.Status, no.Detail)
		return
	case err != nil:
		c.problem(w, v, http.StatusBadRequest, err.Error())
		return
	}
	c.budgets.forget()
	c.sessions.say(v.session, clean(said))
	http.Redirect(w, v.request, "/#said", http.StatusSeeOther)
}

// field is what a form has in a field.
func (v *visit) field(name string) string { return v.request.PostFormValue(name) }

// sealed is how a hidden field carries a name of others, which may hold anything.
func sealed(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// sealedBudget is sealed for a budget and one of its windows.
func sealedBudget(limit, key, unit, window string) string {
	return sealed(strings.Join([]string{limit, key, unit, window}, "\x00"))
}

// opened is the name that a hidden field carries; blank where it carries none.
func (v *visit) opened(field string) string {
	name, err := base64.RawURLEncoding.DecodeString(v.field(field))
	if err != nil {
		return ""
	}
	return string(name)
}

// reason is that of a form, for the audit.
func (v *visit) reason() api.Act { return api.Act{Reason: strings.TrimSpace(v.field("reason"))} }

// targetOf is how the API is told of somebody; name is as the watch has it.
func targetOf(scope, name string) string {
	if scope == outlier.UserSender {
		user, sender := outlier.Names(name)
		return scope + ":" + user + " " + sender
	}
	return scope + ":" + name
}

// shownTarget is how people are told of somebody.
func shownTarget(scope, name string) string {
	if scope == outlier.UserSender {
		user, sender := outlier.Names(name)
		return "sender " + sender + " of user " + user
	}
	return scope + " " + name
}

func (v *visit) release() (string, error) {
	scope, name := v.field("scope"), v.opened("name")
	done, err := v.api.Release(v.request.Context(), api.Release{Act: v.reason(), Name: targetOf(scope, name), Learn: v.field("learn") != ""})
	if err != nil {
		return "", err
	}
	said := "Mail of " + shownTarget(scope, name) + " passes again, from the next recipient on."
	if still := done.Result.Still; len(still) > 0 {
		said = "Released: " + shownTarget(scope, name) + ". Its mail is still stopped: " + still[0].What
		if len(still) > 1 {
			said += fmt.Sprintf(", and by %d more", len(still)-1)
		}
	}
	return said, nil
}

// spans are how long a form can ask for something.
var spans = map[string]time.Duration{"1h": time.Hour, "4h": 4 * time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

func (v *visit) extend() (string, error) {
	scope, name, d := v.field("scope"), v.opened("name"), spans[v.field("for")]
	if d == 0 && v.field("for") != "" {
		return "", errors.New("this is no time that the form offers")
	}
	done, err := v.api.Extend(v.request.Context(), api.Suspend{Act: v.reason(), Name: targetOf(scope, name), For: api.Span(d)})
	if err != nil {
		return "", err
	}
	until := "until it is released"
	if m := v.moment(done.Result.Until); m != nil {
		until = "until " + m.Text
	}
	return "Mail of " + shownTarget(scope, name) + " waits " + until + ".", nil
}

func (v *visit) resume() (string, error) {
	stream := v.opened("name")
	if _, err := v.api.Resume(v.request.Context(), api.Resume{Act: v.reason(), Stream: stream}); err != nil {
		return "", err
	}
	return "Stream " + stream + " goes on.", nil
}

// order is what a form about a budget asks for.
func (v *visit) order() (o api.Allow, err error) {
	of := strings.Split(v.opened("of"), "\x00")
	if len(of) != 4 {
		return o, errors.New("the form names no budget")
	}
	unit, window := new(ratelimit.Unit), api.Span(0)
	if err := unit.UnmarshalText([]byte(of[2])); err != nil {
		return o, err
	}
	if err := window.UnmarshalText([]byte(of[3])); err != nil {
		return o, err
	}
	return api.Allow{Act: v.reason(), BudgetOf: api.BudgetOf{Limit: of[0], Key: of[1]}, Unit: unit, Window: window}, nil
}

func (v *visit) allow() (string, error) {
	o, err := v.order()
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v.field("add")), 10, 64)
	if err != nil || n < 1 {
		return "", errors.New("how many more is a number from 1 on")
	}
	d := spans[v.field("for")]
	if d == 0 {
		return "", errors.New("this is no time that the form offers")
	}
	o.Add, o.Until = n, v.Console.now().Add(d)
	done, err := v.api.Allow(v.request.Context(), o)
	if err != nil {
		return "", err
	}
	what, who, _, _ := v.keyWords(o.Key)
	return fmt.Sprintf("%s more %s for %s %s until %s.", number(n), o.Unit.Words(), what, who, v.moment(done.Result.Until).Text), nil
}

func (v *visit) unallow() (string, error) {
	o, err := v.order()
	if err != nil {
		return "", err
	}
	if _, err := v.api.Allow(v.request.Context(), o); err != nil {
		return "", err
	}
	what, who, _, _ := v.keyWords(o.Key)
	return fmt.Sprintf("%s %s has what its limit says again.", what, who), nil
}
