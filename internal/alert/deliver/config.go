package deliver

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"postern/internal/alert"
	"postern/internal/text"
)

// Config is one [alert.NAME]: a receiver of alerts. Exactly one of Webhook,
// WebhookFile, Alertmanager and Mail says who it is.
type Config struct {
	// Webhook is the URL that notices are posted to. Whoever can read the
	// configuration reads it: where it holds a token use WebhookFile.
	Webhook string `toml:"webhook"`
	// WebhookFile holds that URL alone, in a file that nobody else can read.
	WebhookFile string `toml:"webhook_file" form:"path"`
	// Style is "json" or "slack", which is a text as Slack, Mattermost and others
	// take it. Default: "json".
	Style Style `toml:"style"`
	// SecretFile holds what the body of a webhook is signed with. Blank: no signature.
	SecretFile string `toml:"secret_file" form:"path"`
	// TokenFile holds what webhook or Alertmanager want as a bearer token. Blank: none.
	TokenFile string `toml:"token_file" form:"path"`
	// CA is a PEM file of authorities in place of the system's, for https. Blank: the
	// system's.
	CA string `toml:"ca" form:"path"`
	// Plain lets http go to other machines; without it that is an error, for
	// everybody on the way could read and change what is sent.
	Plain bool `toml:"plain"`
	// Alertmanager is its URL, without /api/v2/alerts.
	Alertmanager string `toml:"alertmanager"`
	// Mail is the address that gets notices by mail, through the upstream of Stream,
	// outside of limits and suspensions.
	Mail string `toml:"mail"`
	// From is the author and reverse-path of such mail. Blank: postmaster.
	From string `toml:"from"`
	// Stream is by whose upstream and source address such mail leaves. Blank: the only
	// one; with several it is needed.
	Stream string `toml:"stream"`
	// Rules are the kinds of conditions that are told. Empty: all but near_limit.
	Rules []string `toml:"rules"`
	// NearLimit adds near_limit to them.
	NearLimit bool `toml:"near_limit"`
	// ReleaseLink is the URL under which the operators' browsers reach [admin]; a notice
	// of a suspension then holds a link to a page that releases it by a button. Blank: no
	// link.
	ReleaseLink string `toml:"release_link"`
	// Docs is the URL of the folder that holds docs/ of this release, for the links in
	// notices. Blank: they name the file.
	Docs string `toml:"docs"`

	url    *url.URL // of webhook or Alertmanager
	secret []byte
	token  string
}

// Style is json or slack.
type Style string

// Styles of a webhook.
const (
	JSON  Style = "json"
	Slack Style = "slack"
)

// UnmarshalText takes the two names.
func (s *Style) UnmarshalText(b []byte) error {
	*s = Style(b)
	if *s != JSON && *s != Slack {
		return fmt.Errorf(`%q is unknown; write "json" or "slack"`, b)
	}
	return nil
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() { c.Style = JSON }

// Check reports what is wrong with the table. It tells nothing of a URL, which may
// hold a token.
func (c *Config) Check(report func(key, problem string)) {
	ways := 0
	for _, way := range []string{c.Webhook, c.WebhookFile, c.Alertmanager, c.Mail} {
		if way != "" {
			ways++
		}
	}
	if ways != 1 {
		report("", "names no receiver, or more than one; write one of webhook, webhook_file, alertmanager and mail, and a table for each")
	}
	for key, text := range map[string]string{"webhook": c.Webhook, "alertmanager": c.Alertmanager} {
		if _, problem := c.parse(text); text != "" && problem != "" {
			report(key, problem)
		}
	}
	isHook := c.Webhook+c.WebhookFile != ""
	switch {
	case c.Style != JSON && !isHook:
		report("style", "is for a webhook only; remove it")
	case c.SecretFile != "" && !isHook:
		report("secret_file", "is for a webhook only; remove it, or write token_file")
	case c.Mail != "" && (c.TokenFile != "" || c.CA != "" || c.Plain):
		report("mail", "needs no token_file, ca and plain: how it leaves is said by the upstream; remove them")
	case c.Mail == "" && c.From+c.Stream != "":
		report("from", "and stream are for mail only; remove them")
	}
	for i, r := range c.Rules {
		if !slices.Contains(alert.Kinds(), r) {
			report(fmt.Sprintf("rules.%d", i), fmt.Sprintf("%q is unknown; there are %s", r, strings.Join(alert.Kinds(), ", ")))
		}
	}
	for key, text := range map[string]string{"release_link": c.ReleaseLink, "docs": c.Docs} {
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
			report(key, `is not a URL without query; write it as "https://relay.example.org:8025"`)
		}
	}
	if u, err := url.Parse(c.ReleaseLink); c.ReleaseLink != "" && err == nil && u.Scheme == "http" && !text.IsLoopback(u.Hostname()) && !c.Plain {
		report("release_link", "is http to another machine, where everybody on the way could take the link; write https, or plain = true")
	}
}

// parse reads the URL of a receiver, or says what is wrong with it, without quoting it.
func (c *Config) parse(address string) (*url.URL, string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, `is not a URL; write it as "https://hooks.example.org/postern"`
	case u.Scheme == "http" && !text.IsLoopback(u.Hostname()) && !c.Plain:
		return nil, "is http to another machine, where everybody on the way could read and change it; write https, or plain = true"
	}
	return u, ""
}

// Secrets takes in what the files hold: the URL of webhook_file, the signing secret and
// the token, "" for those that are not named. The problem says what is wrong with the
// URL; it quotes nothing.
func (c *Config) Secrets(hook, secret, token string) (problem string) {
	c.secret, c.token = []byte(secret), token
	text := c.Webhook + c.Alertmanager
	if c.WebhookFile != "" {
		text = hook
	}
	if c.Mail != "" || text == "" {
		return ""
	}
	c.url, problem = c.parse(text)
	return problem
}

// channel is the channel of the board that these settings make.
func (c *Config) channel(name string) alert.Channel {
	ch := alert.Channel{Name: name, Kinds: slices.Clone(c.Rules)}
	if len(ch.Kinds) == 0 {
		ch.Kinds = alert.DefaultKinds()
	}
	if c.NearLimit && !slices.Contains(ch.Kinds, alert.NearLimit) {
		ch.Kinds = append(ch.Kinds, alert.NearLimit)
	}
	if c.Alertmanager != "" {
		ch.Form = alert.Active
	}
	return ch
}
