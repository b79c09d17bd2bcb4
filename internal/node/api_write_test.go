package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/audit"
	"postern/mail"
	"postern/outlier"
)

// post asks for something to be done, and returns the result.
func (a *apiNode) post(t *testing.T, want int, role access.Role, path, body string) (done struct {
	Audit  string          `json:"audit"`
	DryRun bool            `json:"dry_run"`
	Result json.RawMessage `json:"result"`
}) {
	t.Helper()
	d, token := a.port, a.tokens[role]
	if role == "" {
		d = a.socket
	}
	status, _, text := d.ask(t, "POST", "/api/v1"+path, token, body)
	if status != want {
		t.Fatalf("%s %s as %q: %d %s", path, body, role, status, text)
	}
	if status == 200 {
		if err := json.Unmarshal([]byte(text), &done); err != nil {
			t.Fatal(err)
		}
	}
	return done
}

func (a *apiNode) lines(t *testing.T) []audit.Line {
	t.Helper()
	list, err := audit.Latest(a.audit.Name(), 0, 1000, func(*audit.Line) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestWrites: each write needs a reason, does nothing when it is only tried, and stands
// in the audit before and behind what was done.
func TestWrites(t *testing.T) {
	a := startAPI(t, "")
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		verb, path, body, target, result string // body without its braces and reason
	}{
		{"suspend", "/suspensions", `"name":"news@shop.example","for":"2h"`, "sender news@shop.example", `"level":"suspend"`},
		{"extend", "/suspensions/extend", `"name":"news@shop.example","for":"3h"`, "sender news@shop.example", `"level":"suspend"`},
		{"release", "/suspensions/release", `"name":"news@shop.example"`, "sender news@shop.example", `"still":[`},
		{"allow", "/limits/sender/allowances", `"sender":"news@shop.example","unit":"messages","add":5,"until":"` + later + `"`, "sender sender=news@shop.example", `"add":5`},
		{"reset", "/limits/sender/reset", `"key":"sender=news@shop.example"`, "sender sender=news@shop.example", `"key":"sender=news@shop.example"`},
		{"suppress", "/suppressions", `"stream":"main","recipient":"Bob@dest.example"`, "recipient bob@dest.example of stream main", `"recipient":"bob@dest.example"`},
		{"unsuppress", "/suppressions/remove", `"stream":"","recipient":"bob@dest.example"`, "recipient bob@dest.example of stream any", `"recipient"`},
		{"resume", "/streams/main/resume", ``, "stream main", `"name":"main"`},
		{"backoff_end", "/backoffs/end", `"stream":"main"`, "stream main", `"stream":true`},
		{"reload", "/reload", ``, "the configuration", `"ok":true`},
		{"token_new", "/tokens", `"name":"fresh","role":"view","for":"1h"`, "token fresh of role view", `"role":"view"`},
		{"token_revoke", "/tokens/fresh/revoke", ``, "token fresh", `"name":"fresh"`},
	} {
		t.Run(c.verb, func(t *testing.T) {
			rest := ""
			if c.body != "" {
				rest = "," + c.body
			}
			a.receivers.backoff.Pause("main", time.Now().Add(time.Hour))
			before := len(a.lines(t))
			for _, reason := range []string{``, `"reason":"",`, `"reason":"  ",`, `"reason":"a\nb",`, `"reason":"` + strings.Repeat("x", 501) + `",`} {
				a.post(t, 400, "", c.path, strings.Replace("{"+reason+c.body+"}", ",}", "}", 1))
			}
			for _, how := range []string{"?dry_run=true", ""} {
				dry := a.post(t, 200, "", c.path+how, `{"reason":"looked at","dry_run":true`+rest+`}`)
				if !dry.DryRun || dry.Audit != "" || !strings.Contains(string(dry.Result), c.result) {
					t.Errorf("dry run: %+v %s", dry, dry.Result)
				}
			}
			a.post(t, 200, "", c.path+"?dry_run=true", `{"reason":"looked at","dry_run":false`+rest+`}`)
			if n := len(a.lines(t)); n != before {
				t.Fatalf("what was only tried stands in the audit: %d lines more", n-before)
			}
			done := a.post(t, 200, "", c.path, `{"reason":"looked at"`+rest+`}`)
			if done.DryRun || !strings.Contains(string(done.Result), c.result) {
				t.Errorf("%+v %s", done, done.Result)
			}
			waitFor(t, "the line behind "+c.verb, func() bool { return len(a.lines(t)) == before+2 })
			after, begun := a.lines(t)[0], a.lines(t)[1]
			if begun.ID != done.Audit || after.ID != done.Audit || begun.Result != audit.Begun || after.Result != audit.Done || after.Verb != c.verb ||
				begun.Target != c.target || begun.Reason != "looked at" || begun.Door != "socket" || begun.Role != "admin" || len(after.After) == 0 {
				t.Errorf("%+v\n%+v", begun, after)
			}
			if c.verb == "token_new" && (strings.Contains(string(after.After), "pst_") || !strings.Contains(string(done.Result), `"token":"pst_`)) {
				t.Errorf("%s, answer %s", after.After, done.Result)
			}
		})
	}
	r, err := audit.Verify(a.audit.Name())
	if err != nil || len(r.Problems) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	if status, _, text := a.port.ask(t, "GET", "/api/v1/audit?verb=release&limit=1", a.tokens[access.Operate], ""); status != 200 || !strings.Contains(text, `"verb":"release"`) || !strings.Contains(text, `"next"`) {
		t.Errorf("%d %s", status, text)
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + " does not come")
		}
	}
}

// TestAuditThatCannotBeWritten: a suspension takes effect all the same, everything else
// is refused, and the lines follow when the disk is well again.
func TestAuditThatCannotBeWritten(t *testing.T) {
	a := startAPI(t, "")
	name := a.audit.Name()
	a.post(t, 200, "", "/suspensions", `{"reason":"before","name":"user:pia"}`)
	waitFor(t, "the second line", func() bool { return len(a.lines(t)) == 2 })
	os.Rename(name, name+".kept")
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if status, h, text := a.socket.ask(t, "POST", "/api/v1/suspensions/release", "", `{"reason":"x","name":"user:pia"}`); status != 503 || !strings.Contains(text, `"code":"audit"`) || h.Get("Retry-After") == "" {
		t.Errorf("release: %d %s", status, text)
	}
	a.post(t, 200, "", "/suspensions", `{"reason":"stolen","name":"news@shop.example"}`)
	if v := a.watch.Judge("shop", "", mail.IdentityOf("news@shop.example")); !v.Refuse() {
		t.Error("the suspension has no effect")
	}
	if v := a.watch.Judge("shop", "pia", "x@shop.example"); !v.Refuse() {
		t.Error("the release took effect")
	}
	if !strings.Contains(a.log.String(), "msg=audit") || !strings.Contains(a.log.String(), "stolen") {
		t.Error("the log has no line of the suspension")
	}
	os.Remove(name)
	os.Rename(name+".kept", name)
	a.post(t, 200, "", "/suspensions/release", `{"reason":"well again","name":"user:pia"}`)
	waitFor(t, "what waited", func() bool { return len(a.lines(t)) == 6 })
	if lines := a.lines(t); lines[3].Reason != "stolen" || lines[3].Result != audit.Begun || lines[1].Reason != "well again" {
		t.Errorf("%+v", lines)
	}
	if r, err := audit.Verify(name); err != nil || len(r.Problems) > 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestOwnerOperatesOnWhatIsHis and on nothing else.
func TestOwnerOperatesOnWhatIsHis(t *testing.T) {
	a := startAPI(t, "")
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	allow := func(of string) string {
		return `{"reason":"x",` + of + `,"unit":"messages","add":5,"until":"` + later + `"}`
	}
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/suspensions", `{"reason":"x","name":"news@shop.example"}`, 200},
		{"/suspensions/release", `{"reason":"x","name":"news@shop.example"}`, 200},
		{"/suspensions", `{"reason":"x","name":"both@shop.example"}`, 403},
		{"/suspensions", `{"reason":"x","name":"a@office.example"}`, 403},
		{"/suspensions", `{"reason":"x","name":"a@office.example","unknown":true}`, 403},
		{"/suspensions", `{"reason":"x","name":"client:shop"}`, 403},
		{"/suspensions", `{"reason":"x","name":"user:pia"}`, 200},
		{"/suspensions", `{"reason":"x","name":"user+sender:pia both@shop.example"}`, 403},
		{"/limits/sender/allowances", allow(`"sender":"news@shop.example"`), 200},
		{"/limits/sender/allowances", allow(`"key":"sender=news@shop.example"`), 200},
		{"/limits/sender/allowances", allow(`"sender":"a@office.example"`), 403},
		{"/limits/sender/allowances", allow(`"key":"sender=@shop.example"`), 403},
		{"/limits/sender/allowances", allow(`"sender":"a@office.example","client":"shop","unknown":true`), 403},
		{"/limits/sender/reset", `{"reason":"x","sender":"both@shop.example"}`, 403},
		{"/limits/other/reset", `{"reason":"x","key":"client=shop"}`, 404},
		{"/suppressions", `{"reason":"x","stream":"main","recipient":"b@dest.example"}`, 403},
		{"/reload", `{"reason":"x"}`, 403},
		{"/tokens", `{"reason":"x","name":"y","role":"admin"}`, 403},
	} {
		a.post(t, c.want, access.Owner, c.path, c.body)
	}
	a.post(t, 200, access.Operate, "/suspensions", `{"reason":"abuse","name":"news@shop.example"}`)
	a.post(t, 403, access.Owner, "/suspensions/release", `{"reason":"x","name":"news@shop.example"}`)
	a.post(t, 403, access.Owner, "/suspensions/extend", `{"reason":"x","name":"news@shop.example","for":"1s"}`)
	for _, path := range []string{"/suspensions", "/allowances", "/limits", "/senders"} {
		if status, _, text := a.port.ask(t, "GET", "/api/v1"+path, a.tokens[access.Owner], ""); status != 200 || strings.Contains(text, "office") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// TestHostileBodies: what is long, deep, doubtful or of another kind is refused, and soon.
func TestHostileBodies(t *testing.T) {
	a := startAPI(t, "")
	const good = `{"reason":"x","name":"news@shop.example"}`
	for _, c := range []struct {
		name, body string
		want       int
	}{
		{"not JSON", "name=x", 400}, {"blank", " ", 400}, {"a list", "[]", 400}, {"null", "null", 400}, {"an unknown key", `{"reason":"x","nmae":"y"}`, 400},
		{"two requests", good + good, 400}, {"something behind", good + "x", 400}, {"half of one", good[:20], 400},
		{"a number for a name", `{"reason":"x","name":5}`, 400}, {"a bad time", `{"reason":"x","name":"news@shop.example","for":"soon"}`, 400},
		{"a time that is too long", `{"reason":"x","name":"news@shop.example","for":"10000d"}`, 400}, {"a negative time", `{"reason":"x","name":"news@shop.example","for":"-1h"}`, 400},
		{"deep", `{"reason":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`, 400},
		{"long", `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
		{"long blanks", strings.Repeat(" ", 1<<20), 413},
	} {
		for _, d := range []door{a.port, a.socket} {
			if status, _, text := d.ask(t, "POST", "/api/v1/suspensions", a.tokens[access.Admin], c.body); status != c.want {
				t.Errorf("%s: %d %s", c.name, status, text)
			}
		}
	}
	if status, _, text := a.port.ask(t, "POST", "/api/v1/suspensions", a.tokens[access.Admin], good, "Content-Type", "text/plain"); status != 415 {
		t.Errorf("a form: %d %s", status, text)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, "TRACE"} {
		if status, h, text := a.port.ask(t, method, "/api/v1/suspensions", a.tokens[access.Admin], ""); status != 405 || h.Get("Allow") == "" {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
	if suspended := a.watch.States(outlier.Suspended); len(suspended) > 0 {
		t.Errorf("something was suspended: %+v", suspended)
	}
	for i := range 10_000 {
		if status, _, text := a.port.ask(t, "GET", fmt.Sprintf("/api/v1/suspensions?cursor=%d", i), a.tokens[access.View], ""); status != 400 {
			t.Fatalf("cursor %d: %d %s", i, status, text)
		}
		if i == 200 && testing.Short() {
			break
		}
	}
}

// TestWatchStandsInTheAudit: whom it suspends, and nothing softer.
func TestWatchStandsInTheAudit(t *testing.T) {
	a := startAPI(t, "")
	a.auditChange(&outlier.Change{State: outlier.State{Scope: outlier.Sender, Name: "news@shop.example", Level: outlier.Suspended, Reason: "far over its usual"}, Time: time.Now(), Cause: outlier.CauseRule})
	a.auditChange(&outlier.Change{State: outlier.State{Scope: outlier.Sender, Name: "news@shop.example", Level: outlier.Alerted}, Time: time.Now(), Cause: outlier.CauseRule})
	a.auditChange(&outlier.Change{State: outlier.State{Scope: outlier.Sender, Name: "news@shop.example", Level: outlier.Suspended, By: "root"}, Time: time.Now(), Cause: outlier.CauseOperator})
	a.auditChange(&outlier.Change{State: outlier.State{Scope: outlier.Sender, Name: "x@shop.example", Level: outlier.Suspended, By: byListing}, Time: time.Now(), Cause: outlier.CauseOperator})
	waitFor(t, "the lines", func() bool { return len(a.lines(t)) == 2 })
	if l := a.lines(t)[0]; l.Actor != byListing || l.Target != "sender x@shop.example" {
		t.Errorf("%+v", l)
	}
	if l := a.lines(t)[1]; l.Actor != "the outlier watch" || l.Verb != "suspend" || l.Door != "inside" {
		t.Errorf("%+v", l)
	}
	if filepath.Base(a.audit.Name()) != "audit.jsonl" {
		t.Error(a.audit.Name())
	}
}
