package admin

import (
	"cmp"
	"context"
	"time"

	"postern/mail"
	"postern/reputation"
)

// SuppressionOrder is what the paths /suppressions/add and /remove take.
type SuppressionOrder struct {
	Stream    string        `json:"stream"`    // "*" for all; on removal "" for any
	Recipient string        `json:"recipient"` // in any spelling, its domain in A-labels
	For       time.Duration `json:"for"`       // nanoseconds; 0: as configured
	Reason    string        `json:"reason"`
}

// Suppressions serves the recipients that are known not to exist; s nil: none
// are kept. known says why the configuration has no such stream.
func (c *Control) Suppressions(s *reputation.Suppressions, known func(stream string) error) {
	const none = Misuse("suppressions are not kept; set reputation.suppress_for")
	c.Query("/suppressions", func(_ context.Context, get func(string) string) (any, error) {
		if s == nil {
			return nil, none
		}
		list, to := []reputation.Suppression{}, mail.RecipientOf(get("recipient"))
		for _, e := range s.List() {
			if (get("stream") == "" || e.Stream == get("stream")) && (to == "" || e.Recipient == to) {
				list = append(list, e)
			}
		}
		return list, nil
	})
	Act(c, "/suppressions/add", func(ctx context.Context, o SuppressionOrder) (any, error) {
		switch {
		case s == nil:
			return nil, none
		case o.Recipient == "" || o.Stream == "":
			return nil, Misuse("stream and recipient are needed")
		case o.Stream != reputation.AllStreams:
			if err := known(o.Stream); err != nil {
				return nil, Misuse(err.Error())
			}
		}
		reason := "added by " + By(ctx)
		if o.Reason != "" {
			reason += ": " + o.Reason
		}
		s.Add(o.Stream, mail.RecipientOf(o.Recipient), reason, o.For)
		return o, nil
	})
	Act(c, "/suppressions/remove", func(_ context.Context, o SuppressionOrder) (any, error) {
		if s == nil {
			return nil, none
		}
		if !s.Remove(o.Stream, mail.RecipientOf(o.Recipient)) {
			return nil, Misuse(o.Recipient + " is not suppressed")
		}
		return o, nil
	})
}

// BackoffOrder is what the path /backoff/end takes. Domain counts where there is
// no such stream.
type BackoffOrder struct {
	Stream string `json:"stream,omitempty"`
	Domain string `json:"domain,omitempty"` // of recipients, in A-labels, or a group of receivers
}

// BackoffEnded is the answer: what went on.
type BackoffEnded struct {
	Destinations int  `json:"destinations"`
	Stream       bool `json:"stream,omitempty"` // a paused one
}

// Backoff serves the streams and destinations whose mail waits, and ends that.
// isStream tells streams of the configuration, resume ends the pause of one.
func (c *Control) Backoff(b *reputation.Backoff, isStream func(string) bool, resume func(stream string) bool) {
	c.Query("/backoff", func(context.Context, func(string) string) (any, error) { return b.List(), nil })
	Act(c, "/backoff/end", func(_ context.Context, o BackoffOrder) (any, error) {
		var ended BackoffEnded
		switch {
		case o.Stream != "" && isStream(o.Stream):
			ended = BackoffEnded{Destinations: b.End(o.Stream, ""), Stream: resume(o.Stream)}
		case o.Domain != "":
			ended = BackoffEnded{Destinations: b.End("", o.Domain)}
		default:
			return nil, Misuse("name a stream or a domain of recipients")
		}
		if ended == (BackoffEnded{}) {
			return nil, Misuse("nothing of " + cmp.Or(o.Stream, o.Domain) + " waits; see: relay backoff list")
		}
		return ended, nil
	})
}
