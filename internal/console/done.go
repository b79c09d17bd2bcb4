package console

import (
	"net/http"
	"strconv"
	"strings"

	"postern/internal/api"
	"postern/internal/audit"
)

// donePart is what was done of late, the newest first.
type donePart struct {
	Rows    []doneRow
	Act     bool   // the visitor may take something back
	Form    string // token of forms
	Own     bool   // what the visitor did himself only
	Problem string
}

// doneRow is one act.
type doneRow struct {
	ID, Field  string // for the form; for the page
	Words      string // what was done
	Target     string
	By, Reason string
	Result     string // where it is not done
	At         *moment
	Undone     bool // it was taken back
	Undo       bool // it can be, as far as one sees
}

// doneLines is how many lines of the audit are read, doneShown how many acts are shown.
const (
	doneLines = 200
	doneShown = 50
)

// verbs are the words for acts, in the past.
var verbs = map[string]string{
	"suspend": "suspended", "extend": "suspended to another end", "release": "released", "allow": "set an allowance of", "reset": "reset", "suppress": "suppressed",
	"unsuppress": "sends again to", "backoff_end": "ended the back-off of", "resume": "resumed", "undo": "took back an act on", "reload": "reloaded",
	"token_new": "made", "token_revoke": "revoked", "alert_test": "tested", "console_link": "asked for a link to",
}

// donePage shows what was done, on a page of its own.
func (c *Console) donePage(w http.ResponseWriter, v *visit) {
	if !v.mayAct() {
		c.problem(w, v, http.StatusForbidden, "Role view does not see what was done.")
		return
	}
	c.show(w, http.StatusOK, "done.html", v.frame("What was done", v.done()))
}

func (v *visit) done() *donePart {
	p := &donePart{Act: v.mayAct(), Form: v.sessions.formToken(v.session), Own: v.isOwner()}
	page, err := v.api.Audit(v.request.Context(), api.AuditQuery{PageQuery: api.PageQuery{Limit: doneLines}})
	if err != nil {
		p.Problem = v.words(err.Error())
		return p
	}
	undone := map[string]bool{}
	for i := range page.Items {
		l := &page.Items[i]
		if l.Result == audit.Done && l.Undoes != "" {
			undone[l.Undoes] = true
		}
		if l.Result != audit.Begun && len(p.Rows) < doneShown {
			p.Rows = append(p.Rows, v.doneRow(l, undone[l.ID]))
			p.Rows[len(p.Rows)-1].Field = "undo-" + strconv.Itoa(len(p.Rows))
		}
	}
	return p
}

func (v *visit) doneRow(l *audit.Line, undone bool) doneRow {
	r := doneRow{
		ID: l.ID, Words: verbs[l.Verb], Target: clean(l.Target), By: clean(l.Actor), Reason: v.words(l.Reason), At: v.moment(l.Time),
		Undone: undone, Undo: !undone && api.MayUndo(v.Caller, l),
	}
	if r.Words == "" {
		r.Words = clean(l.Verb)
	}
	if l.Result != audit.Done {
		r.Result = v.words(l.Result)
	}
	return r
}

// undo takes an act back.
func (v *visit) undo() (string, error) {
	done, err := v.api.Undo(v.request.Context(), api.Undo{Act: v.reason(), ID: v.opened("id")})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace("Taken back: " + done.Result.Verb + " of " + done.Result.Target + "."), nil
}
