package deliver

import (
	"context"
	"strings"
	"time"

	"postern/internal/alert"
)

// alertmanager speaks version 2 of its API.
type alertmanager struct {
	*poster
	form form
}

// postable is postableAlert of the API.
type postable struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// lasts is how long Alertmanager takes an alert for active when it hears no more of
// it: so long that it outlives a few tries that fail.
const lasts = 5 * alert.ResendEvery

// atOnce is how many alerts one request holds.
const atOnce = 100

func (m *alertmanager) Send(ctx context.Context, b *alert.Batch) alert.Result {
	list := make([]postable, 0, len(b.Alerts))
	for _, a := range m.form.all(b.Alerts) {
		list = append(list, postableOf(&a, m.now()))
	}
	for len(list) > 0 {
		n := min(len(list), atOnce)
		if r := m.post(ctx, b.ID, list[:n]); r.Err != nil {
			return r
		}
		list = list[n:]
	}
	return alert.Result{}
}

func postableOf(a *alert.Alert, now time.Time) postable {
	p := postable{
		Labels: map[string]string{"alertname": alertName(a.Kind), "relay": a.Relay, "kind": a.Kind, "severity": a.Severity, "condition": a.Condition},
		Annotations: map[string]string{"summary": a.Summary, "description": a.Reason, "docs": a.Docs,
			"id": a.Opened, "transaction": a.About.Transaction, "release_link": a.ReleaseLink},
		StartsAt: a.Since, EndsAt: now.Add(lasts),
	}
	for name, value := range map[string]string{"scope": a.About.Scope, "name": a.About.Name, "client": a.About.Client, "user": a.About.User,
		"stream": a.About.Stream, "upstream": a.About.Upstream} {
		p.Labels[name] = value
	}
	for _, c := range a.Commands {
		p.Annotations[c.What] = c.Line
	}
	if a.Status == alert.Resolved {
		p.EndsAt = a.Ended
	}
	if a.Status == alert.Tried {
		p.EndsAt = now.Add(time.Minute)
	}
	if p.EndsAt.Before(p.StartsAt) { // the clock was set back
		p.StartsAt = p.EndsAt
	}
	for _, set := range []map[string]string{p.Labels, p.Annotations} {
		for k, v := range set {
			if v == "" {
				delete(set, k)
			}
		}
	}
	return p
}

// alertName is such as "PosternUpstreamDown".
func alertName(kind string) string {
	name := "Postern"
	for word := range strings.SplitSeq(kind, "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}
