package config

import (
	"errors"
	"iter"
	"strings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/strangers"
)

// Policy is the compiled rule set of clients and streams.
func (f *File) Policy() *policy.Rules { return f.policy }

// CompiledLimits are the compiled limits, those of null senders among them.
func (f *File) CompiledLimits() *ratelimit.Limits { return f.limits }

// compile keeps the rules of a file that has been checked.
func (f *File) compile() (err error) {
	f.limits, err = ratelimit.Compile(f.Limits(), f.LimitEnv())
	if err != nil || f.policy != nil {
		return err // the cross-check has compiled it
	}
	var problems []string
	f.policy = policy.Compile(f.policyConfig(), ParseAddress,
		func(path, text string) { problems = append(problems, path+": "+text) }, func(string, string) {})
	if f.policy == nil {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// policyConfig is what policy compiles its rules from.
func (f *File) policyConfig() policy.Config {
	streams := make(map[string]policy.StreamConfig, len(f.Stream))
	for name, s := range f.Stream {
		streams[name] = s.StreamConfig
	}
	return policy.Config{Clients: f.Client, Streams: streams, InternalDomains: f.InternalDomains}
}

// nullSenderLimit is the name of the limit that holds the null reverse-path of
// a client; no [limit.NAME] can have it.
func nullSenderLimit(client string) string { return "null_sender:" + client }

// Limits are the tables [limit.NAME] and, for each client without null_sender =
// "allow", one of its null_sender_limit. Where the null reverse-path is refused
// it holds reports and receipts with another one.
func (f *File) Limits() map[string]ratelimit.RuleConfig {
	limits := strangers.Expand(f.Limit)
	for name, c := range f.Client {
		if c.NullSender == policy.AllowNull {
			continue
		}
		l := ratelimit.RuleConfig{Per: ratelimit.Per{ratelimit.PerClient}, Clients: []string{name}, Senders: []string{"<>"}, Reports: true}
		l.SetDefaults()
		for _, text := range c.NullSenderLimit {
			var n ratelimit.Number
			if n.UnmarshalText([]byte(text)) == nil { // reported by the cross-check
				l.Messages = append(l.Messages, n)
			}
		}
		if len(l.Messages) > 0 {
			limits[nullSenderLimit(name)] = l
		}
	}
	return limits
}

// LimitEnv is what limits are compiled and explained with.
func (f *File) LimitEnv() ratelimit.Env {
	env := ratelimit.Env{
		InternalDomains: f.InternalDomains, Streams: sortedKeys(f.Stream),
		Providers: f.providerNames(),
		Clients:   make([]ratelimit.EnvClient, 0, len(f.Client)), Parse: ParseAddress,
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

// SigningDomain is the [dkim] table that signs mail from the domain of a
// sender pattern, "" when there is none. Domains below that of "@*.DOMAIN" may
// have tables of their own.
func (f *File) SigningDomain(pattern string) string {
	domain, _ := patternDomain(pattern)
	for domain != "" {
		if _, ok := f.DKIM[domain]; ok {
			return domain
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return ""
}

// Widest yields the patterns that hold all senders that a client of this
// configuration can own, each with its place in senders.
func (f *File) Widest(c policy.ClientConfig) iter.Seq2[int, string] {
	return c.Widest(func() []string { return sortedKeys(f.User) })
}

// ParseAddress reads "local@domain" for policy. Domains may hold underscores, since
// lenient clients may.
func ParseAddress(s string) (mail.Address, error) { return syntax.LenientMailbox(s, true) }
