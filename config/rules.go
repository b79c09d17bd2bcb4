package config

import (
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/syntax"
)

// PolicyConfig is what policy compiles its rules from.
func (f *File) PolicyConfig() policy.Config {
	streams := make(map[string]policy.StreamConfig, len(f.Stream))
	for name, s := range f.Stream {
		streams[name] = s.StreamConfig
	}
	return policy.Config{Clients: f.Client, Streams: streams, InternalDomains: f.InternalDomains}
}

// LimitEnv is what limits are compiled and explained with.
func (f *File) LimitEnv() ratelimit.Env {
	env := ratelimit.Env{
		InternalDomains: f.InternalDomains, Streams: sortedKeys(f.Stream),
		Clients: make([]ratelimit.EnvClient, 0, len(f.Client)), Domain: syntax.Domain,
	}
	for _, name := range sortedKeys(f.Client) {
		c := f.Client[name]
		s := f.Stream[c.Stream]
		env.Clients = append(env.Clients, ratelimit.EnvClient{
			Name: name, Networks: len(c.Networks) > 0, Users: c.Users,
			Stream: c.Stream, Upstream: s.Upstream, SourceIP: len(s.SourceIP) > 0,
		})
	}
	return env
}

// ParseAddress reads "local@domain" for policy.
func ParseAddress(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }
