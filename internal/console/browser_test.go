package console

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

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

func do(t testing.TB, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
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

func eval[T any](t testing.TB, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// until waits until a script says true, ten seconds at most.
func until(t testing.TB, ctx context.Context, script string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script)); err == nil && ok {
			return
		}
	}
	t.Fatalf("%s: not within ten seconds; the page is %s", script, eval[string](t, ctx, "location.href + ' ' + document.body.innerText"))
}

// scheme makes a tab light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// enter logs a tab in by a one-time link.
func enter(t testing.TB, ctx context.Context, d *demo, role access.Role) {
	t.Helper()
	do(t, ctx, chromedp.Navigate(d.server.URL+d.NewLink(access.Identity{Name: "olga", Role: role})), chromedp.Click("button.primary"))
	until(t, ctx, `document.querySelector("#now") != null`)
}

// TestScreenshots writes the pictures of docs/, with -screenshots.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		return
	}
	d := newDemo(t)
	ctx := browser(t)
	enter(t, ctx, d, access.Operate)
	for _, width := range []int64{360, 768, 1280} {
		for _, look := range []string{"light", "dark"} {
			for name, path := range map[string]string{"console": "/", "find": "/find?since=7d", "event": "/event/06hd2k7gq1f8s0v3", "hour": "/hour?stream=corporate&at=2026-11-25T10:00:00Z"} {
				do(t, ctx, chromedp.EmulateViewport(width, 900), scheme(look), chromedp.Navigate(d.server.URL+path))
				until(t, ctx, `document.querySelector("main") != null`)
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
