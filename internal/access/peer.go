package access

import (
	"net/url"

	"postern/internal/text"
)

// Peer is [admin.peers.NAME]: another node of the relay that the console asks.
type Peer struct {
	// Server is where its port of [admin] answers, such as
	// "https://mx2.example.org:8025"; plain HTTP for addresses of this machine only.
	Server string `toml:"server"`
	// TokenFile holds a token of that node; nobody else may be able to read it. With role
	// view the console shows none of its recipients.
	TokenFile string `toml:"token_file" form:"path"`
	// CA is a file of certificate authorities in place of the system's. Blank: the
	// system's.
	CA string `toml:"ca" form:"path"`
}

// SetDefaults fills in nothing: every key is written.
func (p *Peer) SetDefaults() {}

// Check reports what is wrong with the table.
func (p *Peer) Check(report func(key, problem string)) {
	u, err := url.Parse(p.Server)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		report("server", `write it as "https://mx2.example.org:8025"`)
	case u.Scheme == "http" && !text.IsLoopback(u.Hostname()):
		report("server", "the token would cross the net in plain text; write https://")
	}
	if p.TokenFile == "" {
		report("token_file", "is missing; put a token of that node into a file that only the relay can read")
	}
}
