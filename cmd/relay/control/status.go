package control

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/node"
	"postern/internal/phrase"
	counts "postern/internal/text"
	"postern/outlier/tune"
)

// Status tells how a running relay does; its exit status is 1 while the relay
// is not ready.
func Status(io cli.IO, args []string) int {
	v := NewVerb(io, "status")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	var s admin.Status
	if err := v.Get("/status", url.Values{}, &s); err != nil {
		return v.Fail(err)
	}
	providers, err := readProviders(v)
	if err != nil {
		return v.Fail(err)
	}
	full := struct {
		admin.Status
		Providers []api.Provider `json:"providers,omitempty"`
	}{s, providers}
	if status := v.Print(full, func(w Writer) { writeStatus(w, &s, providers, time.Now()) }); status != cli.OK {
		return status
	}
	if !s.Ready {
		return cli.Fault
	}
	return cli.OK
}

func writeStatus(w Writer, s *admin.Status, providers []api.Provider, now time.Time) {
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("relay", "%s, version %s, process %d, up %s", s.Hostname, s.Version, s.PID, phrase.Span(now.Sub(s.Started)))
	ready := "yes: mail is accepted"
	if !s.Ready {
		ready = "NO"
	}
	line("ready", "%s", ready)
	for _, r := range s.Reasons {
		line("", "%s, since %s", r.Text, phrase.Time(r.Since))
	}
	for i, r := range s.Degraded {
		line(first(i, "degraded"), "%s, since %s", r.Text, phrase.Time(r.Since))
	}
	for i := range s.Upstreams {
		h := &s.Upstreams[i]
		line(first(i, "upstreams"), "%s %s is %s", h.Upstream, h.Host, hostWords(h))
	}
	writeProviders(line, providers)
	for i := range s.Scanners {
		sc := &s.Scanners[i]
		line(first(i, "scanners"), "%s (%s) is %s", sc.Name, sc.Kind, scannerWords(sc))
	}
	line("store", "%s", storeStatusWords(&s.Store))
	for i, st := range s.Streams {
		line(first(i, "streams"), "%s through %s%s", st.Name, st.Upstream, streamWords(&st))
	}
	for i, l := range s.Listeners {
		line(first(i, "listeners"), "%s on %s, tls %s", l.Name, l.Address, l.TLS)
	}
	line("connections", "%d", s.Connections)
	line("outliers", "%d suspended, %d throttled", s.Suspended, s.Throttled)
	if s.Tuning != nil {
		line("sensitivity", "%s", tuningWords(s.Tuning))
	}
	line("config", "%s, %s", s.Config, reloadWords(s.LastReload))
	if s.LastReload != nil {
		for _, p := range s.LastReload.Problems {
			line("", "%s", p)
		}
	}
}

func hostWords(h *admin.UpstreamHost) string {
	success := "never"
	if !h.LastSuccess.IsZero() {
		success = phrase.Time(h.LastSuccess)
	}
	switch {
	case !h.Up:
		return fmt.Sprintf("DOWN since %s, last success %s: %s", phrase.Time(h.Since), success, h.LastError)
	case h.LastSuccess.IsZero():
		return "up, as far as is known: nobody has used it yet"
	}
	text := "up"
	if !h.Since.IsZero() {
		text += " since " + phrase.Time(h.Since)
	}
	text += ", last success " + success
	if h.LastError != "" {
		text += fmt.Sprintf(", last error %s: %s", phrase.Time(h.LastFailure), h.LastError)
	}
	if n := h.InUse + h.Idle; n > 0 {
		text += fmt.Sprintf(", %d of %d connections (%d in use)", n, h.Max, h.InUse)
	}
	if h.PerConnection > 0 {
		text += ", takes " + counts.Count(h.PerConnection, "message", "messages") + " a connection"
	}
	if h.DSN {
		text += ", offers DSN"
	}
	return text
}

func scannerWords(s *admin.ScannerStatus) string {
	text := "up since " + phrase.Time(s.Since)
	if !s.Up {
		text = fmt.Sprintf("DOWN since %s: %s", phrase.Time(s.Since), s.Err)
	}
	text += phrase.Prefixed(", ", s.Version)
	if !s.Database.IsZero() {
		text += ", database of " + phrase.Time(s.Database)
	}
	switch {
	case s.Shadow:
		text += ", only watched"
	case s.Up && !s.Proven:
		text += ", its yes is not proven"
	}
	return text
}

func storeStatusWords(s *admin.StoreStatus) string {
	if s.Kind != "redis" {
		return "limits are counted in this process"
	}
	text := fmt.Sprintf("Redis is %s since %s", s.State, phrase.Time(s.Since))
	if s.State == node.StoreAway {
		text = fmt.Sprintf("Redis is AWAY since %s: %s", phrase.Time(s.Since), cmp.Or(s.Err, "no answer"))
	}
	return text
}

func streamWords(s *admin.StreamStatus) string {
	switch {
	case !s.Paused.IsZero():
		return ", PAUSED by a listing until " + phrase.Time(s.Paused)
	case s.Capture:
		return ", which keeps mail and sends nothing"
	}
	return ""
}

func tuningWords(s *tune.Status) string {
	text := fmt.Sprintf("%.2f, by false_alarms = %q", s.Sensitivity, s.Accepted.String())
	switch {
	case !s.Until.IsZero():
		return text + fmt.Sprintf("; the journal is long enough on %s", s.Until.Format(time.DateOnly))
	case s.Tried.IsZero():
		return text + "; the journal was not looked at yet"
	}
	if s.Wanted != 0 && math.Abs(s.Wanted-s.Sensitivity) > 0.01 {
		text += fmt.Sprintf("; it moves to %.2f by 5 %% a day", s.Wanted)
	}
	return text + fmt.Sprintf("; %s: %s", phrase.Time(s.Tried), s.Says)
}

func reloadWords(r *admin.ReloadStatus) string {
	switch {
	case r == nil:
		return "not reloaded since the start"
	case r.OK:
		return "reloaded " + phrase.Time(r.Time)
	}
	return fmt.Sprintf("the reload of %s FAILED, what was before is in force:", phrase.Time(r.Time))
}

// first is the label of row i of several: those after the first have none.
func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}
