package console

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/outlier"
)

var (
	formForm  = regexp.MustCompile(`(?s)<form method="post" action="(/act/[a-z]+)">(.*?)</form>`)
	inputForm = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)
)

// forms are those of a page that act, each with its hidden fields.
func forms(page string) (list []url.Values) {
	for _, m := range formForm.FindAllStringSubmatch(page, -1) {
		f := url.Values{"action": {m[1]}}
		for _, in := range inputForm.FindAllStringSubmatch(m[2], -1) {
			f.Set(in[1], html.UnescapeString(in[2]))
		}
		list = append(list, f)
	}
	return list
}

// TestFormsDoWhatTheySay, without a script: what the page holds is sent as it stands.
func TestFormsDoWhatTheySay(t *testing.T) {
	d := newDemo(t)
	d.state.Streams[1].Paused = demoNow.Add(time.Hour)
	d.held = append(d.held, outlier.State{Scope: outlier.UserSender, Name: "shop news@shop.example.org", Client: "shop", Level: outlier.Suspended, Since: demoNow})
	c := d.login(t, "pst_operate")
	_, page := get(t, c, d.server.URL+"/")
	for _, f := range forms(page) {
		f.Set("reason", " checked ")
		f.Set("for", "24h")
		f.Set("add", "20")
		action := f.Get("action")
		f.Del("action")
		if status, text := send(t, c, d.server.URL+action, f); status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", action, status, text)
		}
	}
	for _, want := range []string{
		"olga page 127.0.0.1: release sender:crm@example.org learn=false (checked)", "olga page 127.0.0.1: extend sender:crm@example.org 24h0m0s (checked)", "olga page 127.0.0.1: release user:jansen learn=false (checked)",
		"olga page 127.0.0.1: release user+sender:shop news@shop.example.org learn=false (checked)", "olga page 127.0.0.1: resume marketing (checked)",
		"olga page 127.0.0.1: allow sender sender=anna.lindqvist@example.org 20 recipients 1h0m0s until 2026-11-27 14:24:00 (checked)", "olga page 127.0.0.1: allow client client=shop 0 recipients 24h0m0s until 0001-01-01 00:00:00 (checked)",
	} {
		if !slices.Contains(d.acts, want) {
			t.Errorf("not done: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("done:\n%s", strings.Join(d.acts, "\n"))
	}
	if _, page = get(t, c, d.server.URL+"/"); !strings.Contains(page, `id="said"`) {
		t.Error("the page does not say what was done")
	}
	if _, page = get(t, c, d.server.URL+"/"); strings.Contains(page, `id="said"`) {
		t.Error("the page says it twice")
	}
}

func TestFormsThatAreNotOursDoNothing(t *testing.T) {
	d := newDemo(t)
	operate, view := d.login(t, "pst_operate"), d.login(t, "pst_view")
	_, page := get(t, operate, d.server.URL+"/")
	token := formToken(t, page)
	good := forms(page)[0]
	good.Set("reason", "x")
	address := d.server.URL + good.Get("action")
	for name, c := range map[string]struct {
		client *http.Client
		form   url.Values
		fields []string
		want   int
	}{
		"no session":     {d.client(), good, nil, http.StatusUnauthorized},
		"another's form": {view, good, nil, http.StatusForbidden},
		"no form token":  {operate, url.Values{"scope": {"sender"}, "name": {"x"}, "reason": {"x"}}, nil, http.StatusForbidden},
		"another site":   {operate, good, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"another origin": {operate, good, []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		"a proxy's word": {d.client(), good, []string{"X-Forwarded-User", "pia"}, http.StatusForbidden},
	} {
		if status, text := send(t, c.client, address, c.form, c.fields...); status != c.want {
			t.Errorf("%s: %d, want %d: %s", name, status, c.want, text)
		}
	}
	for path, form := range map[string]url.Values{
		"/act/allow":   {"of": {sealedBudget("sender", "sender=a@b.example", "recipients", "1h")}, "add": {"-5"}, "for": {"1h"}},
		"/act/unallow": {"of": {sealedBudget("sender", "sender=a@b.example", "apples", "1h")}},
		"/act/allow?":  {"of": {"e30"}, "add": {"5"}, "for": {"1h"}},
		"/act/extend":  {"scope": {"sender"}, "for": {"1000y"}},
		"/act/nothing": {},
	} {
		form.Set("form", token)
		form.Set("reason", "x")
		if status, _ := send(t, operate, d.server.URL+path, form); status != http.StatusBadRequest && status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := get(t, operate, address); status != http.StatusMethodNotAllowed && status != http.StatusNotFound {
		t.Errorf("a look at %s: %d", address, status)
	}
	if len(d.acts) > 0 {
		t.Errorf("done: %q", d.acts)
	}
	if _, page = get(t, view, d.server.URL+"/"); len(forms(page)) > 0 {
		t.Error("a viewer has forms")
	}
}

// TestWhatWasDoneCanBeUndone: each act once, with a form where it can be taken back by who
// looks; what others have written is inert.
func TestWhatWasDoneCanBeUndone(t *testing.T) {
	d := newDemo(t)
	d.lines[2].Target, d.lines[2].Reason, d.lines[2].Actor = "user <script>alert(1)</script>\u202e"+strings.Repeat("x", 1500), "<b>x</b>\x1b[31m", "token <i>"
	page := func(token string) (int, string) { return get(t, d.login(t, token), d.server.URL+"/done") }
	if status, text := page("pst_view"); status != http.StatusForbidden || strings.Contains(text, "crm@") {
		t.Errorf("a viewer: %d %s", status, text)
	}
	status, text := page("pst_operate")
	if n := strings.Count(text, `action="/act/undo"`); status != http.StatusOK || n != 2 {
		t.Errorf("%d, %d forms: %s", status, n, text)
	}
	for _, bad := range []string{"<script>alert", "<b>", "<i>", "\u202e", "\x1b"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is on the page", bad)
		}
	}
	for _, want := range []string{"took back an act on", "<strong>taken back</strong>", "did not succeed: limit", "sender crm@example.org", `name="id" value="` + sealed("06hd2k7gq1f8u2")} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	c := d.login(t, "pst_operate")
	_, text = get(t, c, d.server.URL+"/done")
	f := forms(text)[1]
	f.Set("reason", "a mistake")
	action := f.Get("action")
	f.Del("action")
	status, text = send(t, c, d.server.URL+action, f)
	if got := d.acts[len(d.acts)-1]; status != http.StatusSeeOther || !strings.HasSuffix(got, "undo 06hd2k7gq1f8u2 (a mistake)") {
		t.Errorf("%d %s: %s", status, text, got)
	}
}
