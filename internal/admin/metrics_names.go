package admin

import (
	"slices"
	"strconv"

	"postern/mail"
)

// Names are those of a configuration that become labels.
type Names struct {
	Clients   map[string]string // with the stream of each
	Upstreams []string
	Limits    []string
	Scanners  []string
	Channels  []string // of alerts
}

// Expect makes the counters of these names, with 0: what appears only with its first
// event has no rate for it, and an alert on it does not come. It is called at the start
// and after each reload.
func (m *Metrics) Expect(n Names) {
	for client, stream := range n.Clients {
		for _, k := range usualEnds {
			m.series(kind{client, stream, k.stage, k.outcome}).recipients()
		}
		m.octets.WithLabelValues(client, stream)
	}
	for _, u := range n.Upstreams {
		for _, class := range []string{"2xx", "4xx", "5xx"} {
			m.replies.WithLabelValues(u, class, otherStatus)
		}
		for _, c := range []mail.Class{mail.ClassListedIP, mail.ClassListedDomain, mail.ClassRateLimited, mail.ClassNoSuchUser, mail.ClassContentSpam, mail.ClassPolicyAuth,
			mail.ClassCredentials, mail.ClassTemporaryFault, mail.ClassOther} {
			m.classes.WithLabelValues(u, string(c))
		}
	}
	for _, l := range n.Limits {
		for _, result := range []string{admitted, refused, wouldRefuse} {
			m.decisions.WithLabelValues(l, result)
		}
		m.limits.WithLabelValues(l, "enforce")
		m.limits.WithLabelValues(l, "shadow")
	}
	for _, s := range n.Scanners {
		for _, verdict := range []string{"clean", "spam", "virus", "fault"} {
			m.scans.WithLabelValues(s, verdict)
		}
		m.unscanned.WithLabelValues(s)
	}
	for _, c := range n.Channels {
		for _, result := range []string{"sent", "failed", "given_up"} {
			m.alerts.WithLabelValues(c, result)
		}
	}
}

// usualEnds are the ends of transactions that each client has a counter of from the
// start.
var usualEnds = []struct{ stage, outcome string }{
	{mail.StageForward, mail.Relayed}, {mail.StageRcpt, mail.Rejected}, {mail.StageRcpt, mail.Deferred}, {mail.StageForward, mail.Rejected},
	{mail.StageForward, mail.Deferred}, {mail.StageData, mail.Aborted},
}

// Results of a window of a limit.
const (
	admitted    = "admitted"
	refused     = "refused"
	wouldRefuse = "would_refuse" // in shadow
)

func decision(l *mail.LimitEvent) string {
	switch {
	case !l.Refused:
		return admitted
	case l.Shadow:
		return wouldRefuse
	}
	return refused
}

// otherStatus stands for an enhanced status code that is missing or not a common one.
const otherStatus = "other"

// statuses are the enhanced status codes (RFC 3463 and its successors) that have a series
// of their own, without the class. What an upstream writes never becomes a label.
var statuses = []string{
	"0.0", "1.0", "1.1", "1.2", "1.3", "1.5", "1.6", "1.8", "1.10", "2.0", "2.1", "2.2", "2.3", "3.0", "3.1", "3.2", "3.4", "3.5",
	"4.0", "4.1", "4.2", "4.4", "4.7", "5.0", "5.1", "5.2", "5.3", "6.0", "7.0", "7.1", "7.5", "7.8", "7.9", "7.20", "7.21", "7.23", "7.25", "7.26", "7.27", "7.28",
}

// countReply counts what became of one recipient at the upstream.
func (m *Metrics) countReply(upstream string, r *mail.RecipientEvent) {
	class, status := "none", otherStatus
	if d := r.Code / 100; d == 2 || d == 4 || d == 5 {
		class = strconv.Itoa(d) + "xx"
		if rest := r.Status; len(rest) > 2 && slices.Contains(statuses, rest[2:]) && rest[:2] == strconv.Itoa(d)+"." {
			status = rest
		}
	}
	m.replies.WithLabelValues(upstream, class, status).Inc()
	if r.Provider != "" {
		m.byProvider.WithLabelValues(upstream, r.Provider, class).Inc()
	}
}
