package node

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/mail"
	"postern/outlier"
	"postern/reputation"
	"postern/reputation/bygroup"
)

// undo takes an act back, and returns what the relay says.
func (a *apiNode) undo(t *testing.T, want int, role access.Role, id string) string {
	t.Helper()
	d, token := a.port, a.tokens[role]
	if role == "" {
		d = a.socket
	}
	status, _, text := d.ask(t, "POST", "/api/v1/audit/"+id+"/undo", token, `{"reason":"a mistake"}`)
	if status != want {
		t.Fatalf("undo of %s as %q: %d %s", id, role, status, text)
	}
	return text
}

// TestUndo: each act that can be taken back is, once, with a line of its own.
func TestUndo(t *testing.T) {
	a := startAPI(t, "")
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	b := a.receivers.backoff
	to := mail.RecipientOf("bob@dest.example")
	b.Refused(reputation.Mail{Stream: "main", Client: "shop", Sender: "news@shop.example", Domain: "dest.example"}, time.Hour, "450 slow down")
	b.Groups.Refused(&bygroup.Refusal{Stream: "main", Client: "shop", Group: "google", Domain: "dest.example", At: "mail", Named: time.Hour, Reply: "421 slow down"})
	held := func() string {
		text := ""
		for _, s := range a.watch.States(outlier.Suspended) {
			text += s.Name + " " + s.Until.Format(time.RFC3339)
		}
		return text
	}
	raised := func() string {
		list, err := a.limiter.Allowances(t.Context())
		text := fmt.Sprint(err)
		for i := range list {
			text += fmt.Sprintf(" %d", list[i].Add)
		}
		return text
	}
	suppressed := func() string {
		text := ""
		for _, s := range a.receivers.suppressions.List() {
			text += s.Stream + " " + s.Until.Format(time.RFC3339) + s.Reason
		}
		return text
	}
	waits := func() string {
		text := ""
		for _, e := range b.List() {
			text += e.Stream + e.Destination() + e.Client + string(e.Sender) + e.Until.Format(time.RFC3339)
		}
		return text
	}
	for _, c := range []struct {
		name, path, body string
		state            func() string
	}{
		{"suspend", "/suspensions", `"name":"news@shop.example","for":"2h"`, held},
		{"suspend for good", "/suspensions", `"name":"news@shop.example"`, held},
		{"extend", "/suspensions/extend", `"name":"news@shop.example","for":"3h"`, held},
		{"suspend once more", "/suspensions", `"name":"news@shop.example","for":"5h"`, held},
		{"release", "/suspensions/release", `"name":"news@shop.example"`, held},
		{"allow", "/limits/sender/allowances", `"sender":"news@shop.example","unit":"messages","add":5,"until":"` + later + `"`, raised},
		{"allow more", "/limits/sender/allowances", `"sender":"news@shop.example","unit":"messages","add":9,"until":"` + later + `"`, raised},
		{"end an allowance", "/limits/sender/allowances", `"sender":"news@shop.example","unit":"messages","add":0,"until":"` + later + `"`, raised},
		{"suppress", "/suppressions", `"stream":"main","recipient":"Bob@dest.example"`, suppressed},
		{"suppress longer", "/suppressions", `"stream":"main","recipient":"Bob@dest.example","for":"30d"`, suppressed},
		{"unsuppress", "/suppressions/remove", `"stream":"","recipient":"bob@dest.example"`, suppressed},
		{"back-off of a domain", "/backoffs/end", `"domain":"dest.example"`, waits},
		{"back-off of a stream", "/backoffs/end", `"stream":"main"`, waits},
	} {
		switch c.name { // what there is before
		case "extend", "release":
			a.post(t, http.StatusOK, "", "/suspensions", `{"reason":"x","name":"news@shop.example","for":"1h"}`)
		case "allow more", "end an allowance":
			a.post(t, http.StatusOK, "", "/limits/sender/allowances", `{"reason":"x","sender":"news@shop.example","unit":"messages","add":3,"until":"`+later+`"}`)
		case "suppress longer", "unsuppress":
			a.receivers.suppressions.Add("main", to, "x", time.Hour)
		}
		before := c.state()
		done := a.post(t, http.StatusOK, "", c.path, `{"reason":"x",`+c.body+`}`)
		if after := c.state(); after == before {
			t.Errorf("%s does nothing: %s", c.name, after)
		}
		between := c.state()
		if status, _, text := a.socket.ask(t, "POST", "/api/v1/audit/"+done.Audit+"/undo?dry_run=true", "", `{"reason":"x"}`); status != http.StatusOK || c.state() != between {
			t.Errorf("%s: a dry run: %d %s", c.name, status, text)
		}
		a.undo(t, http.StatusOK, "", done.Audit)
		if got := c.state(); got != before {
			t.Errorf("%s: %q, before it was %q", c.name, got, before)
		}
		if text := a.undo(t, http.StatusConflict, "", done.Audit); !strings.Contains(text, "taken back already") {
			t.Errorf("%s twice: %s", c.name, text)
		}
		a.eventually(t, func() bool {
			l := a.lines(t)[0]
			return l.Verb == "undo" && l.Undoes == done.Audit && l.Result == "done" && l.Target != "" && l.Reason == "a mistake"
		})
		if left := held(); left != "" {
			a.post(t, http.StatusOK, "", "/suspensions/release", `{"reason":"x","name":"news@shop.example"}`)
		}
	}
}

// eventually waits for what is written in the background.
func (a *apiNode) eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s; the last line is %+v", a.lines(t)[0])
		}
	}
}

// TestUndoIsRefused where it would do something else than take the act back, and to whom
// it was not.
func TestUndoIsRefused(t *testing.T) {
	a := startAPI(t, "")
	suspend := func(role access.Role, name, more string) string {
		return a.post(t, http.StatusOK, role, "/suspensions", `{"reason":"x","name":"`+name+`"`+more+`}`).Audit
	}
	ours := suspend(access.Operate, "news@shop.example", "")
	theirs := suspend(access.Operate, "x@office.example", "")
	for _, id := range []string{ours, theirs, "none"} {
		if text := a.undo(t, http.StatusNotFound, access.Owner, id); strings.Contains(text, "office") {
			t.Error(text)
		}
	}
	a.undo(t, http.StatusForbidden, access.View, ours)
	a.post(t, http.StatusOK, access.Operate, "/suspensions/extend", `{"reason":"x","name":"news@shop.example","for":"3h"}`)
	if text := a.undo(t, http.StatusConflict, access.Operate, ours); !strings.Contains(text, "changed since") {
		t.Error(text)
	}
	released := a.post(t, http.StatusOK, access.Operate, "/suspensions/release", `{"reason":"x","name":"x@office.example"}`).Audit
	if text := a.undo(t, http.StatusConflict, access.Operate, theirs); !strings.Contains(text, "not suspended any more") {
		t.Error(text)
	}
	suspend(access.Operate, "x@office.example", "")
	if text := a.undo(t, http.StatusConflict, access.Operate, released); !strings.Contains(text, "suspended again") {
		t.Error(text)
	}
	a.post(t, http.StatusOK, access.Operate, "/suspensions/release", `{"reason":"x","name":"news@shop.example"}`)
	own := suspend(access.Owner, "news@shop.example", "")
	status, _, text := a.port.ask(t, "GET", "/api/v1/audit", a.tokens[access.Owner], "")
	if status != http.StatusOK || !strings.Contains(text, own) || strings.Contains(text, ours) || strings.Contains(text, "office") {
		t.Errorf("an owner reads %d %s", status, text)
	}
	a.undo(t, http.StatusOK, access.Owner, own)
	for verb, order := range map[string][2]string{
		"reset":  {"/limits/sender/reset", `{"reason":"x","key":"sender=news@shop.example"}`},
		"reload": {"/reload", `{"reason":"x"}`},
		"undo":   {"/audit/" + suspend("", "new@shop.example", `,"unknown":true`) + "/undo", `{"reason":"x"}`},
	} {
		done := a.post(t, http.StatusOK, "", order[0], order[1])
		if text := a.undo(t, http.StatusConflict, "", done.Audit); !strings.Contains(text, verb+" cannot be taken back") {
			t.Errorf("%s: %s", verb, text)
		}
	}
	for _, bad := range []string{"..%2f..", "%00", "%3Cscript%3E", strings.Repeat("x", 3000)} {
		if status, _, text := a.port.ask(t, "POST", "/api/v1/audit/"+bad+"/undo", a.tokens[access.Operate], `{"reason":"x"}`); status != http.StatusNotFound && status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
}
