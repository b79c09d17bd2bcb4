package api

import (
	"regexp"
	"slices"
	"strings"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/alert"
	"postern/mail"
	"postern/reputation"
)

// mask hides whose an address is: "a***@example.net".
func mask(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "***"
	}
	first := ""
	for _, c := range address[:at] {
		if c != '"' {
			first = string(c)
		}
		if first != "" {
			break
		}
	}
	return first + "***" + address[at:]
}

// anAddress finds addresses in what receivers say. A local-part in quotes begins with its
// quote; else it ends at what no local-part has.
var anAddress = regexp.MustCompile(`("(?:[^"\\]|\\.)*"|[^\s<>()\[\]:;,"]+)@(\[[^\]\s]*\]|[^\s<>()\[\]:;,"]+)`)

// MaskText is Mask for each address in a text.
func MaskText(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	return anAddress.ReplaceAllStringFunc(text, mask)
}

func maskAll(list []string, mask func(string) string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = mask(list[i])
	}
	return list
}

// MaskEvent hides the recipients of an event, also where a reply names them. What it
// changes it copies.
func MaskEvent(e *mail.Event) {
	e.To = slices.Clone(e.To)
	for i := range e.To {
		r := &e.To[i]
		r.Address, r.Reply, r.Said = mask(r.Address), MaskText(r.Reply), maskSaid(r.Said)
	}
	e.Unreached = slices.Clone(e.Unreached)
	for i := range e.Unreached {
		u := &e.Unreached[i]
		u.Err, u.Said = MaskText(u.Err), maskSaid(u.Said)
	}
	e.Reply, e.Err, e.Said = MaskText(e.Reply), MaskText(e.Err), maskSaid(e.Said)
	e.Scans = slices.Clone(e.Scans)
	for i := range e.Scans {
		e.Scans[i].Text, e.Scans[i].Err = MaskText(e.Scans[i].Text), MaskText(e.Scans[i].Err)
		e.Scans[i].Symbols = maskAll(e.Scans[i].Symbols, MaskText)
	}
}

func maskSaid(s *mail.Evidence) *mail.Evidence {
	if s == nil {
		return nil
	}
	said := *s
	said.Reply, said.By = MaskText(s.Reply), MaskText(s.By)
	return &said
}

// hideListing hides the recipients that replies about a listing name.
func hideListing(l *reputation.Listing) {
	l.Evidence = slices.Clone(l.Evidence)
	for i := range l.Evidence {
		l.Evidence[i].Text = MaskText(l.Evidence[i].Text)
	}
}

// hideHosts hides the recipients that the last errors of hosts name.
func hideHosts(id access.Caller, hosts []admin.UpstreamHost) []admin.UpstreamHost {
	if !id.Masked() {
		return hosts
	}
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].LastError = MaskText(hosts[i].LastError)
	}
	return hosts
}

// hideStatus hides the recipients that errors in a status name.
func hideStatus(id access.Caller, s admin.Status) admin.Status {
	if !id.Masked() {
		return s
	}
	s.Upstreams = hideHosts(id, s.Upstreams)
	s.Reasons, s.Degraded = slices.Clone(s.Reasons), slices.Clone(s.Degraded)
	for _, list := range [...][]admin.Reason{s.Reasons, s.Degraded} {
		for i := range list {
			list[i].Text = MaskText(list[i].Text)
		}
	}
	return s
}

// hideAlerts hides the recipients in conditions, and what releases: links are for those
// whom a channel tells.
func hideAlerts(id access.Caller, s admin.AlertStatus) admin.AlertStatus {
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.ReleaseLink = ""
		if id.Masked() {
			hideAlert(c)
		}
	}
	return s
}

func hideAlert(c *alert.Alert) {
	c.Reason = MaskText(c.Reason)
	if c.About.Envelope != nil {
		envelope := *c.About.Envelope
		envelope.To = maskAll(envelope.To, mask)
		c.About.Envelope = &envelope
	}
}
