package admin

import (
	"errors"
	"html/template"
	"net/http"
	"net/netip"
	"time"
)

// Suspension is what the page of a release link shows.
type Suspension struct {
	Relay, Scope, Name, Client, Reason string
	Since, Until                       time.Time
}

// ErrReleased means that a release link no longer holds: what it was about is over.
var ErrReleased = errors.New("this link has been used, or the suspension is over")

// ReleaseLinks are what the pages of release links ask.
type ReleaseLinks struct {
	// Find finds the suspension that a link is about; ErrReleased when it no longer holds,
	// also for a link that never did.
	Find func(token string) (Suspension, error)
	// Release ends it; by is the address of the browser.
	Release func(token, by string) (Suspension, error)
}

// Serve adds the pages to a port. GET shows a page with a button and changes nothing, for
// links in mail are opened by programs, too; POST, which the button sends, releases.
func (l *ReleaseLinks) Serve(mux *http.ServeMux) {
	mux.HandleFunc("GET /release/{token}", func(w http.ResponseWriter, r *http.Request) {
		s, err := l.Find(r.PathValue("token"))
		releasePage(w, s, err, false)
	})
	mux.HandleFunc("POST /release/{token}", func(w http.ResponseWriter, r *http.Request) {
		by := r.RemoteAddr
		if a, err := netip.ParseAddrPort(by); err == nil {
			by = a.Addr().String()
		}
		s, err := l.Release(r.PathValue("token"), by)
		releasePage(w, s, err, true)
	})
}

// releasePage answers either request. The page is kept by nobody, framed by nobody and
// told to nobody as a referrer, since its address is the right to release.
func releasePage(w http.ResponseWriter, s Suspension, err error, done bool) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	problem := ""
	switch {
	case errors.Is(err, ErrReleased):
		w.WriteHeader(http.StatusNotFound)
		problem = "This link has been used, or the suspension is over."
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
		problem = "It could not be released: " + err.Error()
	}
	releaseTemplate.Execute(w, map[string]any{"S": s, "Done": done, "Problem": problem})
}

var releaseTemplate = template.Must(template.New("release").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Release</title></head>
<body><main>
{{if .Problem}}<h1>Nothing was released</h1><p>{{.Problem}}</p>
{{else if .Done}}<h1>Released</h1><p>Mail of {{.S.Scope}} <bdi>{{.S.Name}}</bdi> passes again on {{.S.Relay}}.</p>
{{else}}<h1>Release {{.S.Scope}} <bdi>{{.S.Name}}</bdi>?</h1>
<dl>
<dt>Relay</dt><dd>{{.S.Relay}}</dd>
{{with .S.Client}}<dt>Client</dt><dd><bdi>{{.}}</bdi></dd>{{end}}
<dt>Suspended since</dt><dd>{{.S.Since.UTC.Format "2006-01-02 15:04:05 MST"}}</dd>
{{if not .S.Until.IsZero}}<dt>Until</dt><dd>{{.S.Until.UTC.Format "2006-01-02 15:04:05 MST"}}</dd>{{end}}
{{with .S.Reason}}<dt>Reason</dt><dd><bdi>{{.}}</bdi></dd>{{end}}
</dl>
<form method="post"><button type="submit">Release</button></form>
<p>Its mail passes again at once. The button works once.</p>{{end}}
</main></body></html>
`))
