package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/statefile"
	"postern/mail"
	"postern/outlier"
)

// get is the status and the text of a page.
func get(t testing.TB, c *http.Client, address string) (int, string) {
	t.Helper()
	res, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// send posts a form with fields of a header.
func send(t testing.TB, c *http.Client, address string, form url.Values, fields ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

var tokenForm = regexp.MustCompile(`name="form" value="([^"]+)"`)

// formToken is that of a page.
func formToken(t testing.TB, page string) string {
	t.Helper()
	m := tokenForm.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no token in %.300s", page)
	}
	return m[1]
}

// reading are the pages that show something of the relay.
var reading = []string{"/", "/needs", "/near", "/part/now", "/part/needs", "/part/near", "/part/volume", "/part/upstreams", "/find", "/find?q=bob@example.org", "/event/06hd2k7gq1f8s0v3", "/hour?stream=corporate&at=2026-11-25T10:00:00Z", "/hours?stream=corporate"}

func TestNobodyReadsWithoutALogin(t *testing.T) {
	d := newDemo(t)
	for _, path := range reading {
		status, text := get(t, d.client(), d.server.URL+path)
		if status != http.StatusSeeOther && status != http.StatusUnauthorized || strings.Contains(text, "example.net") || strings.Contains(text, "crm@") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for _, token := range []string{"", "pst_wrong", "pst_view2", strings.Repeat("x", 100_000)} {
		c := d.client()
		status, text := send(t, c, d.server.URL+"/login", url.Values{"login": {token}})
		if status != http.StatusUnauthorized || len(c.Jar.(*jar).list) > 0 {
			t.Errorf("token %.20q: %d %s", token, status, text)
		}
	}
	c := d.login(t, "pst_view")
	for _, path := range reading {
		if status, text := get(t, c, d.server.URL+path); status != http.StatusOK {
			t.Errorf("%s with a login: %d %s", path, status, text)
		}
	}
}

func TestCookieIsKeptFromScriptsAndOtherSites(t *testing.T) {
	d := newDemo(t)
	c := d.login(t, "pst_view").Jar.(*jar).list[0]
	if c.Name != "__Host-postern" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 {
		t.Errorf("%+v", c)
	}
}

func TestSessionEnds(t *testing.T) {
	d := newDemo(t)
	holds := func(c *http.Client) bool { status, _ := get(t, c, d.server.URL+"/"); return status == http.StatusOK }
	c := d.login(t, "pst_operate")
	cookie := c.Jar.(*jar).list[0]
	good := cookie.Value
	for name, value := range map[string]string{
		"blank": "", "another signature": good[:len(good)-4] + "AAAA", "no signature": good[:strings.Index(good, ".")], "cut": good[1:], "of nobody": "e30." + good[strings.Index(good, ".")+1:],
		"long": good + strings.Repeat("A", 5000),
	} {
		cookie.Value = value
		if holds(c) {
			t.Errorf("a cookie that is %s is taken", name)
		}
	}
	cookie.Value = good
	if !holds(c) {
		t.Fatal("the session does not hold")
	}
	*d.clock = demoNow.Add(12*time.Hour - time.Second)
	if !holds(c) {
		t.Error("the session ended early")
	}
	*d.clock = demoNow.Add(12 * time.Hour)
	if holds(c) {
		t.Error("the session outlives its twelve hours")
	}
	*d.clock = demoNow
	_, page := get(t, c, d.server.URL+"/")
	if status, _ := send(t, c, d.server.URL+"/logout", url.Values{"form": {formToken(t, page)}}); status != http.StatusSeeOther {
		t.Errorf("log out: %d", status)
	}
	cookie.Value = good
	c.Jar.(*jar).list = []*http.Cookie{cookie}
	if holds(c) {
		t.Error("a session that was logged out holds")
	}
	// Another start with the same folder.
	again, err := openSessions(statefile.New(d.sessions.file.Name(), 1<<20), d.now, slog.New(slog.DiscardHandler))
	if err != nil || again.read(good) != nil {
		t.Errorf("it holds again after a restart: %v", err)
	}
	other := d.login(t, "pst_operate")
	if again.read(other.Jar.(*jar).list[0].Value) == nil {
		t.Error("a restart ends the sessions of all")
	}
	if !holds(other) {
		t.Error("a log-out ends the sessions of others")
	}
	d.mu.Lock()
	d.gone["operate"] = true
	d.mu.Unlock()
	if holds(other) {
		t.Error("a session outlives its token")
	}
}

func TestLinkLogsInOnceAndByItsButtonOnly(t *testing.T) {
	d := newDemo(t)
	link := d.NewLink(access.Caller{Name: "root", Role: access.Admin})
	for range 3 { // as a program does that looks at links
		c := d.client()
		if status, _ := get(t, c, d.server.URL+link); status != http.StatusOK || len(c.Jar.(*jar).list) > 0 {
			t.Errorf("a look at the link: %d", status)
		}
	}
	c := d.client()
	if status, _ := send(t, c, d.server.URL+link, nil); status != http.StatusSeeOther {
		t.Errorf("%d", status)
	}
	if _, text := get(t, c, d.server.URL+"/"); !strings.Contains(text, "root") {
		t.Error("nobody is logged in")
	}
	second := d.client()
	if status, _ := send(t, second, d.server.URL+link, nil); status != http.StatusUnauthorized || len(second.Jar.(*jar).list) > 0 {
		t.Errorf("a second use: %d", status)
	}
	late := d.NewLink(access.Caller{Name: "root", Role: access.Admin})
	*d.clock = demoNow.Add(linkFor)
	if status, _ := send(t, d.client(), d.server.URL+late, nil); status != http.StatusUnauthorized {
		t.Errorf("after its minute: %d", status)
	}
}

func TestPagesOfOtherSitesDoNothing(t *testing.T) {
	d := newDemo(t)
	c := d.login(t, "pst_operate")
	_, page := get(t, c, d.server.URL+"/")
	token := formToken(t, page)
	for name, fields := range map[string][]string{
		"another site": {"Sec-Fetch-Site", "cross-site"}, "another port": {"Sec-Fetch-Site", "same-site"}, "an old browser": {"Origin", "http://evil.example"}, "a frame": {"Origin", "null"},
	} {
		for _, path := range []string{"/logout", "/login"} {
			status, _ := send(t, c, d.server.URL+path, url.Values{"form": {token}, "login": {"pst_view"}}, fields...)
			if status != http.StatusForbidden {
				t.Errorf("%s on %s: %d", name, path, status)
			}
		}
	}
	other := d.login(t, "pst_operate")
	_, page = get(t, other, d.server.URL+"/")
	for name, wrong := range map[string]string{"none": "", "another's": formToken(t, page), "cut": token[1:]} {
		if status, _ := send(t, c, d.server.URL+"/logout", url.Values{"form": {wrong}}); status != http.StatusForbidden {
			t.Errorf("form token %s: %d", name, status)
		}
	}
	if status, _ := get(t, c, d.server.URL+"/"); status != http.StatusOK {
		t.Error("one of them logged out")
	}
}

func TestAnswersLetNothingIn(t *testing.T) {
	d := newDemo(t)
	c := d.login(t, "pst_view")
	for _, path := range append(reading, "/login/x", "/nowhere", "/event/x") {
		res, err := c.Get(d.server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if path == "/nowhere" {
			continue
		}
		csp := res.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") ||
			res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "same-origin" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, res.Header)
		}
		for _, never := range []string{"<script>", " style=", " onclick", "javascript:", "https://", "http://www", "ZgotmplZ"} {
			if page := strings.ReplaceAll(string(text), "https://check.spamhaus.org", ""); strings.Contains(page, never) {
				t.Errorf("%s holds %s", path, never)
			}
		}
	}
}

func TestViewersSeeNoRecipient(t *testing.T) {
	d := newDemo(t)
	e := d.events[0]
	e.Reply = `550 5.1.1 <"b jansen"@example.net>, b.jansen@example.net and b.jansen@[192.0.2.1]`
	e.Err = "said of b.jansen@example.net"
	d.state.Hosts[2].LastError = "550 b.jansen@example.net"
	d.list[0].Evidence[0].Text = "b.jansen@example.net"
	d.write(t)
	view, operate := d.login(t, "pst_view"), d.login(t, "pst_operate")
	for _, path := range append(reading, "/find?to=b.jansen@example.net", "/event/"+e.ID) {
		_, seen := get(t, operate, d.server.URL+path)
		_, masked := get(t, view, d.server.URL+path)
		masked = strings.ReplaceAll(masked, `value="b.jansen@example.net"`, "")
		if strings.Contains(masked, "b.jansen") || strings.Contains(masked, "b jansen") {
			t.Errorf("%s shows a viewer a recipient", path)
		}
		if strings.Contains(path, "event") && (!strings.Contains(masked, "b***@example.net") || !strings.Contains(seen, "b.jansen@example.net")) {
			t.Errorf("%s: masked for all, or wrongly: %s", path, masked)
		}
	}
}

func TestWhoOwnsOneClientSeesOnlyIt(t *testing.T) {
	d := newDemo(t)
	d.held = append(d.held, outlier.State{Scope: outlier.Sender, Name: "billing@shop.example.org", Client: "shop", Level: outlier.Suspended, Since: demoNow})
	c := d.login(t, "pst_shop")
	if status, _ := get(t, c, d.server.URL+"/hours?stream=corporate"); status != http.StatusNotFound {
		t.Errorf("counts of all: %d", status)
	}
	for _, path := range append(reading, "/find?q=4xx", "/find?since=7d") {
		_, text := get(t, c, d.server.URL+path)
		for _, other := range []string{"bob@example.org", "crm@example.org", "jansen", "203.0.113.25", "anna.lindqvist@example.org\"", "provider.example"} {
			if text = strings.ReplaceAll(text, `value="bob@example.org"`, ""); strings.Contains(text, other) {
				t.Errorf("%s shows %s", path, other)
			}
		}
	}
	if _, text := get(t, c, d.server.URL+"/"); !strings.Contains(text, "billing@shop.example.org") {
		t.Error("its own is not shown")
	}
	if status, _ := get(t, c, d.server.URL+"/event/06hd2k7gq1f8s0v3"); status != http.StatusNotFound {
		t.Errorf("another's message: %d", status)
	}
	if status, _ := get(t, c, d.server.URL+"/event/06hd2k7gq1f8s0v1"); status != http.StatusOK {
		t.Errorf("its own message: %d", status)
	}
}

// hostile are texts that do something where they are not kept from it.
var hostile = []string{
	`<script>alert(1)</script>@x.example`, `"><img src=x onerror=alert(1)>@x.example`, "a\u202eelpmaxe.live@x.example", "a\x1b[31m\x00\x07@x.example", "' hx-get='/logout' @x.example",
	"{{.Token}}@x.example", "a\u2066b\u200b\ufeff@x.example", strings.Repeat("long", 1000) + "@x.example", "javascript:alert(1)//@x.example", "\xff\xfe@x.example", "a\r\nSet-Cookie: x=y@x.example",
}

func TestNamesOfOthersAreInert(t *testing.T) {
	d := newDemo(t)
	for i, name := range hostile {
		d.held = append(d.held, outlier.State{Scope: outlier.Sender, Name: name, Client: name, By: name, Reason: name, Level: outlier.Suspended, Since: demoNow})
		d.list[0].Target.Name, d.list[0].Evidence[0].Text, d.list[0].Evidence[0].Source = name, name, name
		d.use[i%4].Key, d.use[i%4].Top = "sender="+name, []string{name}
		d.allowances[0].Reason = name
		d.state.Conditions[0].Text, d.state.Hosts[0].Host, d.state.Hosts[2].LastError = name, name, name
		e := *d.events[0]
		e.ID, e.From, e.Client, e.Helo, e.User, e.Reply, e.Rule, e.MessageID, e.Err = "06hd2k7gq1f8s0x"+string(rune('a'+i)), name, name, name, name, name, name, name, name
		e.To = []mail.RecipientEvent{{Address: name, Reply: name, Rule: name, Outcome: mail.Rejected, Code: 550}}
		d.events = append(d.events, &e)
	}
	d.write(t)
	c := d.login(t, "pst_operate")
	paths := append([]string{}, reading...)
	for i, name := range hostile {
		paths = append(paths, "/event/06hd2k7gq1f8s0x"+string(rune('a'+i)), "/find?q="+url.QueryEscape(name), "/find?from="+url.QueryEscape(name), "/event/"+url.PathEscape(name), "/find?code="+url.QueryEscape(name))
	}
	for _, path := range append(paths, "/find?code=550", "/find?q=%3C%3E", "/find?q=@") {
		_, text := get(t, c, d.server.URL+path)
		for _, never := range []string{"<script>alert", "<img src=x", "\u202e", "\u2066", "\u200b", "\ufeff", "\x1b", "\x00", "\xff", "' hx-get", "\r", strings.Repeat("long", 130), "ZgotmplZ"} {
			if strings.Contains(text, never) {
				t.Errorf("%.60s holds %.20q", path, never)
			}
		}
	}
}

func TestStaticFilesAreWhatTheirTableSays(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("static", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("static", "htmx-4.0.1.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if !strings.Contains(string(table), "`"+hex.EncodeToString(sum[:])+"`") {
		t.Error("the checksum of htmx is another one")
	}
	d := newDemo(t)
	for _, name := range []string{"console.css", "console.js", "htmx-4.0.1.min.js", "icon.svg"} {
		status, got := get(t, d.client(), d.server.URL+d.address(name))
		want, _ := os.ReadFile(filepath.Join("static", name))
		if status != http.StatusOK || got != string(want) || strings.Contains(got, "://") && name == "console.css" {
			t.Errorf("%s: %d", name, status)
		}
	}
	for _, name := range []string{"README.md", "..%2fconsole.go", "nothing"} {
		if status, _ := get(t, d.client(), d.server.URL+"/static/"+name); status != http.StatusNotFound {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// TestPageIsSmallHoweverMuchThereIs: what a bad night brings does not fill a phone's line.
func TestPageIsSmallHoweverMuchThereIs(t *testing.T) {
	d := newDemo(t)
	for i := range 400 {
		s := d.held[0]
		s.Name = strconv.Itoa(i) + strings.Repeat("x", 60) + "@example.org"
		d.held = append(d.held, s)
		d.use = append(d.use, d.use[0], d.use[2])
		d.allowances = append(d.allowances, d.allowances[0])
	}
	for range 3 {
		d.list = append(d.list, d.list[0])
	}
	c := d.login(t, "pst_operate")
	_, page := get(t, c, d.server.URL+"/")
	if len(page) > 60<<10 || !strings.Contains(page, "397 more are suspended or throttled") {
		t.Errorf("%d octets", len(page))
	}
	if _, all := get(t, c, d.server.URL+"/needs"); strings.Count(all, "Release") < 400 {
		t.Error("the page of what needs somebody does not hold all")
	}
}

// TestClockThatWasAheadBringsNoSessionBack that was logged out, where another one was meanwhile.
func TestClockThatWasAheadBringsNoSessionBack(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s, err := openSessions(statefile.New(filepath.Join(t.TempDir(), "console.json"), 1<<20), func() time.Time { return at }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	logOut := func() (cookie string) {
		cookie, _ = s.begin(access.Caller{Name: "anna", Role: access.View})
		if err := s.end(s.read(cookie)); err != nil {
			t.Fatal(err)
		}
		return cookie
	}
	cookie := logOut()
	at = at.AddDate(0, 0, 1)
	logOut()
	at = at.AddDate(0, 0, -1)
	if s.read(cookie) != nil {
		t.Error("a session that was logged out is back")
	}
}

// TestDamagedSessions are told to the log, and are no fault of the folder: a relay that
// calls its folder one that cannot be written is not ready.
func TestDamagedSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.json")
	if err := os.WriteFile(path, []byte("Kaboom"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	open := func() *sessions {
		s, err := openSessions(statefile.New(path, 1<<20), time.Now, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Error(err)
		}
		return s
	}
	first := open()
	if !strings.Contains(log.String(), "sessions of the console begin anew") || !strings.Contains(log.String(), "console.json.damaged-") {
		t.Errorf("the log has %q", &log)
	}
	log.Reset()
	if again := open(); !bytes.Equal(first.state.Key, again.state.Key) || log.Len() > 0 {
		t.Errorf("another start has another key, or says %q", &log)
	}
}
