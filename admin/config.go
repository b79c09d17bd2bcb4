// Package admin is the operator's side of a running relay: metrics and health
// over HTTP on loopback, and the control socket that the commands speak to.
package admin

import (
	"fmt"
	"net/netip"
)

// Config is [admin]. Without the table nothing is served over TCP.
type Config struct {
	// Address is IP and port of /metrics, /healthz and /readyz. There is no
	// password, so only loopback addresses are taken. Empty: none.
	Address netip.AddrPort `toml:"address"`
}

// Check reports every problem of the table.
func (c *Config) Check(report func(key, problem string)) {
	if c.Address.IsValid() && !c.Address.Addr().IsLoopback() {
		report("address", fmt.Sprintf("%s is not a loopback address; put a proxy with a password in front of 127.0.0.1 instead", c.Address))
	}
}

// ControlConfig is [control]. Without the table there is no control socket, and
// the commands that speak to a running relay cannot be used.
type ControlConfig struct {
	// Socket is the path of the Unix socket, made with mode 0600. Empty: none.
	Socket string `toml:"socket" form:"path"`
}
