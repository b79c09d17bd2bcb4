package redisstore

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the table [redis]: the store that several nodes share. Without
// the table counts live in process (see embedded.Config).
type Config struct {
	// Addresses are "host:port" of the servers: one is a single server; several
	// are some nodes of a Cluster, or with Master the Sentinels. Blank: no
	// Redis, counts live in process.
	Addresses []string `toml:"addresses"`
	// Master is the name under which the Sentinels at Addresses watch the
	// server. Blank: Addresses are the servers themselves.
	Master string `toml:"master"`
	// Cluster says that a single address is a node of a Cluster. Default: false;
	// several addresses without Master are a Cluster in any case.
	Cluster bool `toml:"cluster"`
	// Username is the ACL user. Blank: the default user.
	Username string `toml:"username"`
	// Password of Username; without Username also offered to the Sentinels,
	// unless they have their own. Better in a file or the environment. Blank: no
	// AUTH.
	Password string `toml:"password"`
	// PasswordFile holds the password and nothing else; a byte order mark and
	// line ends do not count. Nobody else may be able to read it. Blank: see
	// Password.
	PasswordFile string `toml:"password_file" form:"path"`
	// PasswordEnv names the environment variable with the password. Blank: see Password.
	PasswordEnv string `toml:"password_env"`
	// Sentinel is how to log in to the Sentinels, where they want a login.
	Sentinel SentinelConfig `toml:"sentinel"`
	// Database is the number of the database; 0 to 1023. A Cluster has only 0.
	// Default: 0.
	Database int `toml:"database"`

	// TLS encrypts, and verifies the certificates. Default: false.
	TLS bool `toml:"tls"`
	// CA is a PEM file of the authorities that certificates are verified
	// against, in place of the system's. Blank: the system's.
	CA string `toml:"ca" form:"path"`
	// ServerName is the name that all certificates must be valid for. Blank: the
	// host that is connected to.
	ServerName string `toml:"server_name"`
	// Certificate is a PEM file with our own certificate, for servers that ask
	// for one (tls-auth-clients). Blank: none is shown.
	Certificate string `toml:"certificate" form:"path"`
	// Key is the PEM file with the private key of Certificate.
	Key string `toml:"key" form:"path"`

	// Prefix begins the name of every key; all nodes that share limits have the
	// same. 1 to 64 of letters, digits, ".", "_", "-" and ":". Default: postern.
	Prefix string `toml:"prefix"`
	// Timeout bounds each call, connecting included; 10ms to 250ms, so that a
	// decision with its fallback stays within 300ms. Default: 150ms.
	Timeout time.Duration `toml:"timeout"`
	// Connections to each server at most; 1 to 1000. Calls of many sessions
	// share one connection, so that few are enough. Default: 8.
	Connections int `toml:"connections"`
}

// SentinelConfig is the table [redis.sentinel].
type SentinelConfig struct {
	// Username is the ACL user of the Sentinels. Blank: the default user.
	Username string `toml:"username"`
	// Password of Username. Blank: no AUTH.
	Password string `toml:"password"`
	// PasswordFile holds the password and nothing else; a byte order mark and
	// line ends do not count. Nobody else may be able to read it. Blank: see
	// Password.
	PasswordFile string `toml:"password_file" form:"path"`
	// PasswordEnv names the environment variable with the password. Blank: see Password.
	PasswordEnv string `toml:"password_env"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() {
	*c = Config{Prefix: "postern", Timeout: 150 * time.Millisecond, Connections: 8}
}

// SetDefaults leaves c as it is: no login.
func (c *SentinelConfig) SetDefaults() {}

// Enabled reports whether the file asks for Redis.
func (c *Config) Enabled() bool { return len(c.Addresses) > 0 }

// Check reports every problem of the table. PasswordFile and PasswordEnv must
// have been resolved into Password before.
func (c *Config) Check(report func(key, problem string)) {
	if !c.Enabled() {
		if c.Master != "" || c.Username != "" || c.Password != "" || c.TLS || c.Cluster || c.Database != 0 {
			report("addresses", `is missing; name the server, as ["127.0.0.1:6379"], or remove the table`)
		}
		return
	}
	for i, a := range c.Addresses {
		if problem := checkHostPort(a); problem != "" {
			report(fmt.Sprintf("addresses.%d", i), problem)
		}
		if slices.Contains(c.Addresses[:i], a) {
			report(fmt.Sprintf("addresses.%d", i), fmt.Sprintf("names %s twice; once is enough", a))
		}
	}
	if c.Master != "" && c.Cluster {
		report("master", "a Cluster has no Sentinels; remove master or cluster")
	}
	if c.Username != "" && c.Password == "" {
		report("password", "is missing; a username needs one, best by password_file")
	}
	if c.Database < 0 || c.Database > 1023 {
		report("database", fmt.Sprintf("%d is not from 0 to 1023; 0 is right where nothing else is set up", c.Database))
	} else if c.Database != 0 && c.isCluster() {
		report("database", "a Cluster has only database 0; remove the key and use prefix instead")
	}
	c.checkTLS(report)
	if problem := checkPrefix(c.Prefix); problem != "" {
		report("prefix", problem)
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > 250*time.Millisecond {
		report("timeout", fmt.Sprintf("%v is not from 10ms to 250ms; leave it out for the default", c.Timeout))
	}
	if c.Connections < 1 || c.Connections > 1000 {
		report("connections", fmt.Sprintf("%d is not from 1 to 1000; leave it out for the default", c.Connections))
	}
}

// isCluster reports whether the addresses are nodes of a Cluster.
func (c *Config) isCluster() bool {
	return c.Master == "" && (c.Cluster || len(c.Addresses) > 1)
}

func (c *Config) checkTLS(report func(key, problem string)) {
	if !c.TLS {
		for key, value := range map[string]string{
			"ca": c.CA, "server_name": c.ServerName, "certificate": c.Certificate, "key": c.Key,
		} {
			if value != "" {
				report(key, "means nothing without TLS; set tls = true or remove it")
			}
		}
		return
	}
	if (c.Certificate == "") != (c.Key == "") {
		report("certificate", "stands without key, or the other way round; name both files or none")
	}
}

// Check reports every problem of the table.
func (c *SentinelConfig) Check(report func(key, problem string)) {
	if c.Username != "" && c.Password == "" {
		report("password", "is missing; a username needs one, best by password_file")
	}
}

func checkHostPort(s string) (problem string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Sprintf(`%q is not host and port; write it as "127.0.0.1:6379"`, s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Sprintf("%q has no port from 1 to 65535; Redis listens on 6379 as a rule", s)
	}
	if host == "" || strings.ContainsAny(host, " \t/@") {
		return fmt.Sprintf(`%q names no host; write it as "127.0.0.1:6379"`, s)
	}
	return ""
}

// checkPrefix keeps braces and spaces out of key names: braces choose slots.
func checkPrefix(s string) (problem string) {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:", r)
	}
	if s == "" || len(s) > 64 || strings.TrimFunc(s, ok) != "" {
		return fmt.Sprintf("%q is not 1 to 64 of letters, digits and . _ - : ; leave it out for \"postern\"", s)
	}
	return ""
}
