// Package oauth keeps access tokens with which the relay logs in to an upstream.
//
// Providers such as Microsoft 365 and Google end passwords for SMTP. A client
// that cannot ask a person gets a token from the provider's token endpoint
// (RFC 6749): in its own name with a client secret (client credentials, s. 4.4),
// or in the name of a mailbox with a refresh token (s. 6), which a person has
// granted once, for example by the device flow (RFC 8628). The token is sent in
// AUTH in place of a password (RFC 7628, or the older XOAUTH2) and ends after an
// hour or so; a new one must be there before that.
package oauth

import (
	"net/url"
	"strings"
)

// Config is the key oauth of [upstream.NAME].
type Config struct {
	// TokenURL is the provider's token endpoint, https only. No default.
	TokenURL string `toml:"token_url"`
	// DeviceURL is the provider's endpoint for "relay oauth login" (RFC 8628),
	// https only. With it, or with a refresh token, tokens are those of a mailbox;
	// without both they are the client's own. Default: blank.
	DeviceURL string `toml:"device_url"`
	// ClientID is the name under which the relay is registered there. No default.
	ClientID string `toml:"client_id"`
	// ClientSecretFile holds the client's secret and nothing else. Blank: none,
	// which providers allow for a mailbox only.
	ClientSecretFile string `toml:"client_secret_file" form:"path"`
	// Scope is what the token is asked for, words separated by spaces. Default:
	// blank, what the provider gives by itself.
	Scope string `toml:"scope"`
	// RefreshTokenFile holds a refresh token and nothing else, to begin with: the
	// provider may give another with each token, which is kept in state_dir.
	// Blank: the one of "relay oauth login", if device_url is set.
	RefreshTokenFile string `toml:"refresh_token_file" form:"path"`
	// CA is a PEM file with the authorities that certify the endpoints. Blank:
	// those of the system.
	CA string `toml:"ca" form:"path"`

	secret, refresh string
}

// SetDefaults leaves c as it is.
func (c *Config) SetDefaults() {}

// Secrets puts what the files hold in: the client's secret and the first
// refresh token, each blank where there is no file.
func (c *Config) Secrets(client, refresh string) { c.secret, c.refresh = client, refresh }

// mailbox reports whether tokens are those of a mailbox, not the client's own.
func (c *Config) mailbox() bool { return c.RefreshTokenFile != "" || c.DeviceURL != "" }

// Check reports every problem of the table by itself.
func (c *Config) Check(report func(key, problem string)) {
	if c.TokenURL == "" {
		report("token_url", "missing; write the provider's token endpoint")
	} else if problem := checkURL(c.TokenURL); problem != "" {
		report("token_url", problem)
	}
	if c.DeviceURL != "" {
		if problem := checkURL(c.DeviceURL); problem != "" {
			report("device_url", problem)
		}
	}
	if c.ClientID == "" {
		report("client_id", "missing; write the name under which the relay is registered with the provider")
	}
	if c.ClientSecretFile == "" && !c.mailbox() {
		report("client_secret_file", "missing; name the file with the client's secret, or set refresh_token_file or device_url for the tokens of a mailbox")
	}
}

func checkURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return "is not the address of an endpoint; write it as https://login.example.org/token"
	case !strings.EqualFold(u.Scheme, "https"):
		return "is not https, and would show secrets to everybody on the way; write https://"
	}
	return ""
}
