package console

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"postern/internal/access"
)

var screenshots = flag.String("screenshots", "", "a `folder` to write pictures of the console to")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	flag.Parse()
	os.Exit(m.Run())
}

// browser is a tab of Debian's chromium.
func browser(t testing.TB) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.Flag("force-color-profile", "srgb"))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func do(ctx context.Context, t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := chromedp.Do(ctx, step)
		cancel()
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

func eval[T any](ctx context.Context, t testing.TB, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// until waits until a script says true, a minute at most.
func until(ctx context.Context, t testing.TB, script string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script)); err == nil && ok {
			return
		}
	}
	t.Fatalf("%s: not within a minute; the page is %s", script, eval[string](ctx, t, "location.href + ' ' + document.body.innerText"))
}

// scheme makes a tab light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// enter logs a tab in by a one-time link.
func enter(ctx context.Context, t testing.TB, d *demo, role access.Role) {
	t.Helper()
	do(ctx, t, chromedp.Navigate(d.server.URL+d.NewLink(access.Caller{Name: "olga", Role: role})), chromedp.Click("button.primary"))
	until(ctx, t, `document.querySelector("#now") != null`)
}

// TestScreenshots writes the pictures of docs/, with -screenshots.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		return
	}
	d := newDemo(t)
	ctx := browser(t)
	enter(ctx, t, d, access.Operate)
	do(ctx, t, chromedp.EmulateViewport(1280, 860), chromedp.Navigate(d.server.URL+"/"))
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, "top.png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int64{360, 768, 1280} {
		for _, look := range []string{"light", "dark"} {
			for name, path := range map[string]string{"console": "/", "done": "/done", "find": "/find?since=7d", "event": "/event/06hd2k7gq1f8s0v3", "hour": "/hour?stream=corporate&at=2026-11-25T10:00:00Z"} {
				do(ctx, t, chromedp.EmulateViewport(width, 900), scheme(look), chromedp.Navigate(d.server.URL+path))
				until(ctx, t, `document.querySelector("main") != null`)
				png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(*screenshots, name+"-"+strconv.FormatInt(width, 10)+"-"+look+".png"), png, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestPagesReadOnSmallScreensAndAloud: at 360 pixels nothing is wider than the screen, no
// policy is broken, and what tools for accessibility look for is right.
func TestPagesReadOnSmallScreensAndAloud(t *testing.T) {
	d := newDemo(t)
	d.held[0].Name = strings.Repeat("a-very-long-name", 15) + "@example.org"
	d.use[0].Key = "sender=" + d.held[0].Name
	ctx := browser(t)
	enter(ctx, t, d, access.Operate)
	for _, look := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			for _, path := range []string{"/", "/find?since=7d", "/event/06hd2k7gq1f8s0v3", "/hour?stream=corporate&at=2026-11-25T10:00:00Z", "/hours?stream=corporate", "/done", "/event/none"} {
				do(ctx, t, chromedp.EmulateViewport(width, 740), scheme(look), chromedp.Navigate(d.server.URL+path))
				until(ctx, t, `document.readyState == "complete"`)
				eval[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true) ?? true`)
				for _, problem := range eval[[]string](ctx, t, checks) {
					t.Errorf("%s at %d, %s: %s", path, width, look, problem)
				}
			}
		}
	}
}

// checks is a script that returns what is wrong with a page.
const checks = `(() => {
	const wrong = [], all = q => [...document.querySelectorAll(q)];
	const seen = e => e.checkVisibility() && !e.closest(".hidden") && !(innerWidth < 640 && e.closest("thead"));
	if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways: " + document.documentElement.scrollWidth);
	for (const e of all("body *")) {
		const r = e.getBoundingClientRect();
		if (seen(e) && !e.closest("svg") && r.right > innerWidth + 1) { wrong.push("is too wide: " + e.outerHTML.slice(0, 80)); break; }
	}
	if (!document.documentElement.lang || !document.title) wrong.push("no language or title");
	for (const [q, n] of [["main", 1], ["header", 1], ["h1", 1]]) if (all(q).length != n) wrong.push(all(q).length + " of " + q);
	let level = 0;
	for (const h of all("h1,h2,h3,h4")) {
		const n = +h.tagName[1];
		if (n > level + 1) wrong.push("heading out of order: " + h.outerHTML.slice(0, 80));
		level = n;
	}
	const ids = all("[id]").map(e => e.id);
	for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) != i))) wrong.push("id twice: " + id);
	for (const e of all("input:not([type=hidden]),select")) if (!e.labels.length && !e.ariaLabel) wrong.push("no label: " + e.outerHTML);
	for (const e of all("a[href],button,summary")) if (!(e.innerText || e.textContent || e.ariaLabel || e.getAttribute("aria-label") || "").trim()) wrong.push("no name: " + e.outerHTML.slice(0, 80));
	for (const e of all("img")) if (!e.hasAttribute("alt")) wrong.push("no alt: " + e.outerHTML);
	for (const e of all("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) wrong.push("label is missing: " + e.outerHTML.slice(0, 80));
	for (const e of all("section.part, article.part")) if (!e.querySelector("h1,h2")) wrong.push("section without a heading");
	for (const e of all("svg")) if (!e.closest("[role=img][aria-label],[role=group][aria-label],[aria-hidden=true]")) wrong.push("picture without words");
	for (const e of all("[tabindex]")) if (e.tabIndex > 0) wrong.push("tab order by hand");
	for (const e of all("th")) if (!e.scope) wrong.push("th without a scope");
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
	const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
	const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] == 1) return c; } return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255]; };
	const told = new Set();
	for (const e of all("body *")) {
		const own = [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
		if (!own || !seen(e) || e.closest("svg")) continue;
		const a = light(parse(getComputedStyle(e).color)), b = light(behind(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		const what = e.tagName + "." + e.className;
		if (ratio < 4.5 && !told.has(what)) { told.add(what); wrong.push("contrast " + ratio.toFixed(2) + ": " + what); }
	}
	for (const e of all("button,summary,input:not([type=hidden]):not([type=checkbox]),select")) {
		const r = e.getBoundingClientRect();
		if (seen(e) && r.height < 24) wrong.push("too small to touch: " + e.outerHTML.slice(0, 80));
	}
	return wrong;
})()`

// TestKeyboardReachesEverything: Tab goes to each thing that does something, in the order of
// the page, and each shows that it has the focus.
func TestKeyboardReachesEverything(t *testing.T) {
	d := newDemo(t)
	ctx := browser(t)
	enter(ctx, t, d, access.Operate)
	until(ctx, t, `document.readyState == "complete"`)
	eval[bool](ctx, t, `(window.reached = new Set(), document.addEventListener("focusin", e => { reached.add(e.target); const s = getComputedStyle(e.target); if (s.outlineStyle == "none" && !e.target.closest("svg")) window.unseen = e.target.outerHTML; }), true)`)
	all := eval[int](ctx, t, `(window.things = [...document.querySelectorAll("a[href],button,summary,input:not([type=hidden]),select")].filter(e => e.checkVisibility())).length`)
	for range all + 5 {
		do(ctx, t, chromedp.KeyEvent(kb.Tab))
	}
	if missed := eval[[]string](ctx, t, `things.filter(e => !reached.has(e) && document.contains(e)).map(e => e.outerHTML.slice(0, 100))`); len(missed) > 0 {
		t.Errorf("of %d not reached: %q", all, missed)
	}
	if unseen := eval[string](ctx, t, `window.unseen || ""`); unseen != "" {
		t.Errorf("its focus is not seen: %s", unseen)
	}
}

// TestPartsAreRefreshedButNotUnderSomebodysHands: what changes appears by itself, and a
// form that somebody has opened stays as it is.
func TestPartsAreRefreshedButNotUnderSomebodysHands(t *testing.T) {
	d := newDemo(t)
	ctx := browser(t)
	enter(ctx, t, d, access.Operate)
	eval[bool](ctx, t, `(window.broken = [], document.addEventListener("securitypolicyviolation", e => broken.push(e.violatedDirective + " " + e.blockedURI)), true)`)
	do(ctx, t, chromedp.Click("#held-0-none, #needs details.act summary"))
	do(ctx, t, chromedp.SendKeys("#held-0-reason", "half a word"))
	d.mu.Lock()
	d.state.Ready = false
	d.state.Conditions[0] = Condition{Bad: true, Text: "no host of upstream provider can be used"}
	d.mu.Unlock()
	until(ctx, t, `document.querySelector("#now").innerText.includes("Mail is not taken")`)
	if kept := eval[string](ctx, t, `document.querySelector("#held-0-reason").value`); kept != "half a word" {
		t.Errorf("the form holds %q", kept)
	}
	eval[bool](ctx, t, `(document.querySelectorAll("#needs details.act").forEach(d => d.open = false), true)`)
	until(ctx, t, `document.querySelector("#needs").innerText.includes("no host of upstream provider")`)
	if broken := eval[[]string](ctx, t, `broken`); len(broken) > 0 {
		t.Errorf("our own policy is broken by %q", broken)
	}
}
