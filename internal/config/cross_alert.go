package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"postern/internal/syntax"
)

// OnlyStream is the stream of a configuration that has one; "" where it has several.
func (f *File) OnlyStream() string {
	if len(f.Stream) != 1 {
		return ""
	}
	return sortedKeys(f.Stream)[0]
}

// alerts reads the secrets of [alert.NAME] and holds the tables against the others.
func (x *crossCheck) alerts() {
	byMail := 0
	for _, name := range x.names["alert"] {
		c, path := x.Alert[name], join("alert", name)
		if c.Mail != "" {
			byMail++
			x.alertMail(path, c.Mail, c.From, c.Stream)
		}
		x.releaseLink(join(path, "release_link"), c.ReleaseLink)
		if x.d.beside == leftAlone {
			continue
		}
		if c.CA != "" {
			x.authorities(join(path, "ca"), c.CA)
		}
		hook := x.secretText(c.WebhookFile, join(path, "webhook_file"))
		problem := c.Secrets(hook, x.secretText(c.SecretFile, join(path, "secret_file")), x.secretText(c.TokenFile, join(path, "token_file")))
		if problem != "" && hook != "" {
			x.d.problem(join(path, "webhook_file"), "what the file holds "+problem)
		}
		x.Alert[name] = c
	}
	if byMail > 0 && byMail == len(x.Alert) {
		x.d.warn("alert", "all alerts leave by mail, so that nobody hears of an upstream that is down; add a webhook or Alertmanager")
	}
}

// alertMail checks by whom and by which way mail of alerts leaves.
func (x *crossCheck) alertMail(path, to, from, stream string) {
	for _, a := range []struct{ key, text string }{{"mail", to}, {"from", from}} {
		if _, err := syntax.Mailbox(a.text, false); a.text != "" && err != nil {
			x.d.problem(join(path, a.key), fmt.Sprintf("%q is not an address; write one such as %q", a.text, "ops@example.org"))
		}
	}
	if from == "" && x.Postmaster == "" {
		x.d.problem(join(path, "from"), "is missing, and there is no postmaster to stand for it; write an address of yours")
	}
	switch {
	case stream == "" && len(x.Stream) != 1:
		x.d.problem(join(path, "stream"), "is missing, and there is more than one; name the one by whose upstream the mail leaves")
	case stream != "" && !x.exists("stream", stream):
		x.d.problem(join(path, "stream"), x.noSuch("stream", stream))
	}
}

// releaseLink checks that the port of [admin] answers to the name in the links.
func (x *crossCheck) releaseLink(path, text string) {
	if text == "" {
		return
	}
	if !x.Admin.Address.IsValid() {
		x.d.problem(path, "needs [admin] address, which serves the page")
		return
	}
	u, err := url.Parse(text)
	if err != nil {
		return // its own check has said so
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") || strings.EqualFold(host, x.Hostname) ||
		slices.ContainsFunc(x.Admin.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return
	}
	x.d.problem(path, fmt.Sprintf("the port of [admin] does not answer to %s; add it to [admin] hosts", host))
}
