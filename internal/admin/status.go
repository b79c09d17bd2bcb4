package admin

import (
	"time"

	"postern/outlier/tune"
)

// Status is a running relay at one moment, as relay status shows it.
type Status struct {
	Version  string    `json:"version"`
	Hostname string    `json:"hostname"`
	Config   string    `json:"config"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Readiness
	Listeners   []ListenerStatus `json:"listeners"`
	Streams     []StreamStatus   `json:"streams"`
	Upstreams   []UpstreamHost   `json:"upstreams"`
	Scanners    []ScannerStatus  `json:"scanners,omitempty"` // by name
	Store       StoreStatus      `json:"store"`
	LastReload  *ReloadStatus    `json:"last_reload"` // null: none yet
	Suspended   int              `json:"suspended"`
	Throttled   int              `json:"throttled"`
	Connections int64            `json:"connections"`
	// Tuning is how the sensitivity of the watch is found; missing where an operator sets it.
	Tuning *tune.Status `json:"tuning,omitempty"`
}

// ListenerStatus is one listener.
type ListenerStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	TLS     string `json:"tls"`
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name     string    `json:"name"`
	Upstream string    `json:"upstream"`
	Capture  bool      `json:"capture,omitempty"` // its mail is kept in a folder
	Paused   time.Time `json:"paused_until,omitzero"`
}

// ScannerStatus is one scanner.
type ScannerStatus struct {
	Name   string    `json:"name"`
	Kind   string    `json:"kind"` // rspamd, clamd, icap, milter
	Up     bool      `json:"up"`
	Since  time.Time `json:"since"`
	Proven bool      `json:"proven"` // it has found a canary
	Shadow bool      `json:"shadow,omitempty"`
	// Version is its own name of itself; "" when it does not say.
	Version  string    `json:"version,omitempty"`
	Database time.Time `json:"database,omitzero"` // when it was made; zero when it does not say
	Err      string    `json:"error,omitempty"`   // of one that is down
}

// StoreStatus is where limits are counted.
type StoreStatus struct {
	Kind  string    `json:"kind"` // embedded, redis
	State string    `json:"state"`
	Since time.Time `json:"since"`
	Err   string    `json:"error,omitempty"` // of the store that is away
}

// ReloadStatus is how the last reload went.
type ReloadStatus struct {
	Time     time.Time `json:"time"`
	OK       bool      `json:"ok"`
	Problems []string  `json:"problems,omitempty"`
}
