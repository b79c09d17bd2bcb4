package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"postern/dkimsign"
	"postern/internal/access"
	"postern/internal/alert/deliver"
	"postern/internal/auth"
	"postern/internal/eventlog"
	"postern/internal/text"
	"postern/mx/provider"
	"postern/outlier"
	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/redisstore"
	"postern/relay/smtpd"
	"postern/reputation"
	"postern/scan"
	"postern/scan/links"
)

// File is the whole configuration. Load fills it; nothing changes it after.
type File struct {
	// Hostname is our fully qualified name: greeting, Received, and EHLO to
	// upstreams unless a stream says otherwise. No default.
	Hostname string `toml:"hostname"`
	// StateDir is the folder for the quota snapshot, the journal and the
	// control socket; created with mode 0700. Default: "state".
	StateDir string `toml:"state_dir" form:"path"`
	// InternalDomains are our own domains, such as "example.org" or
	// "*.example.org": limits can leave mail to them out, and automatic replies
	// to them pass. Blank: none.
	InternalDomains []string `toml:"internal_domains"`
	// Postmaster is the address that mail to <postmaster> goes to. Blank: such
	// mail is refused.
	Postmaster string `toml:"postmaster"`
	// UsersFile holds further [user.NAME] tables and nothing else. Blank: none.
	UsersFile string `toml:"users_file" form:"path"`

	Listener map[string]smtpd.ListenerConfig `toml:"listener"`
	Timeouts smtpd.Timeouts                  `toml:"timeouts"`
	Message  smtpd.MessageConfig             `toml:"message"`
	Session  smtpd.SessionConfig             `toml:"session"`

	Auth   auth.Config                    `toml:"auth"`
	User   map[string]auth.UserConfig     `toml:"user"`
	Client map[string]policy.ClientConfig `toml:"client"`

	Stream   map[string]StreamConfig          `toml:"stream"`
	Upstream map[string]UpstreamConfig        `toml:"upstream"`
	DKIM     map[string]dkimsign.DomainConfig `toml:"dkim"`
	// Provider are groups of receivers by their MX hosts, besides and instead of the
	// built-in ones. Blank: those that are built in.
	Provider map[string]provider.Config `toml:"provider"`

	// Scanner is whom to ask about the content of mail. Blank: nobody is asked.
	Scanner map[string]scan.Config `toml:"scanner"`

	// Links is whom to ask about the hosts that mail links to. Blank: nobody is asked.
	Links links.Config `toml:"links"`

	Limit map[string]ratelimit.RuleConfig `toml:"limit"`
	Store embedded.Config                 `toml:"store"`
	// Outlier is [outlier]. Without the table its mode is "shadow": a relay that
	// nobody has told to watch learns and reports, and holds no mail for it.
	Outlier    outlier.Config    `toml:"outlier"`
	Reputation reputation.Config `toml:"reputation"`

	// Alert is whom to tell what is wrong. Blank: nobody.
	Alert map[string]deliver.Config `toml:"alert"`

	Redis   redisstore.Config `toml:"redis"`
	Journal eventlog.Config   `toml:"journal"`
	Log     LogConfig         `toml:"log"`
	Control ControlConfig     `toml:"control"`
	Admin   AdminConfig       `toml:"admin"`

	path string
	// usersMissing: users_file could not be read.
	usersMissing bool

	groups *provider.Groups
	policy *policy.Rules
	limits *ratelimit.Limits
}

// SetDefaults fills in what the documentation promises.
func (f *File) SetDefaults() { f.StateDir = "state" }

// Path is the file that was read.
func (f *File) Path() string { return f.path }

// LogConfig is [log]; lines go to standard error.
type LogConfig struct {
	// Format is "text" or "json". Default: "text".
	Format LogFormat `toml:"format"`
	// Level from which on lines are written: "debug", "info", "warn" or
	// "error". Default: "info".
	Level LogLevel `toml:"level"`
}

// SetDefaults fills in what the documentation promises.
func (l *LogConfig) SetDefaults() { *l = LogConfig{Format: "text", Level: "info"} }

// LogFormat is text or json.
type LogFormat string

// UnmarshalText takes the two names.
func (f *LogFormat) UnmarshalText(b []byte) error { return text.OneOf(f, b, "text", "json") }

// LogLevel is debug, info, warn or error.
type LogLevel string

// UnmarshalText takes the four names.
func (l *LogLevel) UnmarshalText(b []byte) error {
	return text.OneOf(l, b, "debug", "info", "warn", "error")
}

// ControlConfig is [control]: the socket that relay limits, senders, suspend
// and others speak to.
type ControlConfig struct {
	// Socket is a path of at most 107 octets; mode 0600. Blank: control.sock in
	// state_dir.
	Socket string `toml:"socket" form:"path"`
}

// AdminConfig is [admin]: HTTP for metrics, health and the API.
type AdminConfig struct {
	access.Config

	// Address to listen on, such as "127.0.0.1:8025"; whoever reaches it can read
	// the metrics, unless metrics_token is set. Blank: none.
	Address netip.AddrPort `toml:"address"`
	// ReadyAfter is how long all hosts of an upstream must be down until /readyz
	// says so; 0s to 1h. Default: 2m.
	ReadyAfter time.Duration `toml:"ready_after"`
	// Hosts are further names that the port is asked by, without a port: hostname,
	// localhost and addresses are always answered, other names get 421. Blank: none.
	Hosts []string `toml:"hosts"`
	// Peers are the other nodes that the console asks, by name. Blank: none.
	Peers map[string]access.Peer `toml:"peers"`
}

// SetDefaults fills in what the documentation promises.
func (a *AdminConfig) SetDefaults() { a.ReadyAfter = 2 * time.Minute }

// Check reports what is wrong with the table.
func (a *AdminConfig) Check(report func(key, problem string)) {
	a.Config.Check(report)
	if a.ReadyAfter < 0 || a.ReadyAfter > time.Hour {
		report("ready_after", fmt.Sprintf("%v is not from 0s to 1h; leave it out for 2m", a.ReadyAfter))
	}
	for i, h := range a.Hosts {
		if h == "" || strings.ContainsAny(h, ":/*@[] ") {
			report(fmt.Sprintf("hosts.%d", i), fmt.Sprintf(`%q is not a name; write it as in the URL, without a port, such as "relay.monitoring"`, h))
		}
	}
}

// inState fills the blank paths that lie in the state folder.
func (f *File) inState() {
	if f.Control.Socket == "" {
		f.Control.Socket = filepath.Join(f.StateDir, "control.sock")
	}
	if f.Admin.TokensFile == "" {
		f.Admin.TokensFile = filepath.Join(f.StateDir, "tokens.jsonl")
	}
}
