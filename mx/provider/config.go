package provider

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
)

// TLS says how much encryption a group wants at least. Blank: it wants nothing of its own.
type TLS string

// The values of tls. Each only ever raises what the upstream asks for, but for
// Opportunistic, which takes back what the built-in table asks for.
const (
	Opportunistic TLS = "opportunistic" // STARTTLS where it works
	Required      TLS = "required"      // TLS or not at all, the certificate is not looked at
	Verified      TLS = "verified"      // and the certificate is valid for the name of the MX host
)

// UnmarshalText accepts the three words; blank is an error.
func (t *TLS) UnmarshalText(b []byte) error {
	return text.OneOf(t, b, Opportunistic, Required, Verified)
}

// MarshalText returns the word.
func (t TLS) MarshalText() ([]byte, error) { return []byte(t), nil }

// Rate is a pace, such as 20 messages a second; the zero value sets no pace.
type Rate struct {
	N   int           // messages, 1 to 100,000
	Per time.Duration // 1ms to 24h
}

// UnmarshalText reads "20/1s".
func (r *Rate) UnmarshalText(b []byte) error {
	bad := fmt.Errorf(`%q is not a pace; write messages and a time, such as "20/1s"`, b)
	count, per, ok := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 100_000 {
		return bad
	}
	d, err := text.ParseDuration(per)
	if err != nil || d < time.Millisecond || d > 24*time.Hour {
		return bad
	}
	*r = Rate{n, d}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes the rate such as "20/1s", and "" for the zero value.
func (r Rate) String() string {
	if r.N == 0 {
		return ""
	}
	return strconv.Itoa(r.N) + "/" + text.FormatDuration(r.Per)
}

// Config is one [provider.NAME]. A key that is left out is as in the built-in
// table, where that has the name.
type Config struct {
	// MX are names of MX hosts, "mx1.example.net" or "*.example.net" for all below.
	// Name only what nobody but the receiver can give to a host. Blank: as built in.
	MX []string `toml:"mx"`
	// Connections of one source address to all hosts of the group together; 1 to
	// 1,000. 0: as built in, else as many as max_connections lets be to each host.
	Connections int `toml:"connections"`
	// MessagesPerConnection after which a connection is closed; 1 to 100,000. 0: as
	// built in, else as the upstream says.
	MessagesPerConnection int `toml:"messages_per_connection"`
	// Rate is how many messages of one source address may begin in a time, evenly spread,
	// such as "20/1s". A message waits for its turn for at most the upstream's
	// wait_timeout, else 451. Blank: any pace.
	Rate Rate `toml:"rate"`
	// TLS is "required" or "verified" where mail to the group must not leave without it;
	// "opportunistic" takes back what is built in. Blank: as built in.
	TLS TLS `toml:"tls"`
}

// Check reports every problem of the table by itself.
func (c *Config) Check(report func(key, problem string)) {
	for i, p := range c.MX {
		if _, err := normal(p); err != nil {
			report("mx."+strconv.Itoa(i), err.Error())
		}
	}
	if c.Connections < 0 || c.Connections > 1000 {
		report("connections", fmt.Sprintf("%d is not from 1 to 1000; correct it, or leave it out", c.Connections))
	}
	if c.MessagesPerConnection < 0 || c.MessagesPerConnection > 100_000 {
		report("messages_per_connection", fmt.Sprintf("%d is not from 1 to 100000; correct it, or leave it out", c.MessagesPerConnection))
	}
}

// normal is a pattern in lower case without a final dot.
func normal(pattern string) (string, error) {
	bad := fmt.Errorf(`%q is not the name of a host; write it in ASCII, such as "mx1.example.net" or "*.example.net"`, pattern)
	p := strings.TrimSuffix(strings.ToLower(pattern), ".")
	name := strings.TrimPrefix(p, "*.")
	if len(name) > 253 || !strings.Contains(name, ".") {
		return "", bad // "*.com" would claim half of the world
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", bad
		}
	}
	return p, nil
}
