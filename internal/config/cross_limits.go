package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/policy"
	"postern/ratelimit"
	"postern/ratelimit/strangers"
)

func (x *crossCheck) limits() {
	for _, name := range x.names["limit"] {
		l, path := x.Limit[name], join("limit", name)
		x.listed(join(path, "clients"), "client", l.Clients)
		x.listed(join(path, "streams"), "stream", l.Streams)
		for _, stream := range sortedKeys(l.Reserve) {
			if !x.exists("stream", stream) {
				x.d.problem(join(join(path, "reserve"), stream), x.noSuch("stream", stream))
			}
		}
		x.strangerNames(path, name, l)
		x.trusted(join(path, "networks"), l.Networks, "the limit would say nothing of where mail comes from; name your own networks")
		x.trusted(join(path, "not_networks"), l.NotNetworks, "the limit would count next to nothing; name your own networks")
		x.internalAtNone(path, l)
		x.stops(path, l)
	}
	env := x.LimitEnv()
	env.Clients, env.Streams = nil, nil // compared with their tables above
	if _, err := ratelimit.Compile(x.Limit, env); err != nil {
		x.d.joined(err)
	}
	of := LimitsByClient(x.Limit)
	for _, name := range x.names["client"] {
		x.guarded(name, x.Client[name], of.Of(name))
	}
}

// strangerNames reports names that limits on strangers need, or cannot have.
func (x *crossCheck) strangerNames(path, name string, l ratelimit.RuleConfig) {
	if strings.HasSuffix(name, strangers.Suffix) || strings.HasSuffix(name, strangers.NewSuffix) {
		x.d.problem(path, "has a name that a limit on strangers may have; give it another one")
	}
	if strangers.In(&l) && len(name)+len(strangers.NewSuffix) > 100 {
		x.d.problem(path, "has too long a name for a limit on strangers; give it a short one")
	}
}

// internalAtNone warns of "internal" where no domain is.
func (x *crossCheck) internalAtNone(path string, l ratelimit.RuleConfig) {
	if len(x.InternalDomains) > 0 {
		return
	}
	for key, patterns := range map[string][]string{"recipients_at": l.RecipientsAt, "recipients_not_at": l.RecipientsNotAt} {
		if i := slices.Index(patterns, "internal"); i >= 0 {
			x.d.warn(join(join(path, key), strconv.Itoa(i)), `"internal" stands for internal_domains, which is empty; write your domains there`)
		}
	}
}

// stops warns of numbers that let nothing pass.
func (x *crossCheck) stops(path string, l ratelimit.RuleConfig) {
	if l.Mode == ratelimit.Shadow {
		return
	}
	for key, numbers := range map[string]ratelimit.Numbers{
		"messages": l.Messages, "recipients": l.Recipients, "bytes": l.Bytes, "distinct_recipients": l.DistinctRecipients,
		"strangers": l.Strangers, "strangers_new": l.StrangersNew,
	} {
		for _, n := range numbers {
			if n.N == 0 {
				x.d.warn(join(path, key), fmt.Sprintf("%q refuses all mail that it concerns; write another number if that is not meant", n))
			}
		}
	}
}

// guarded warns of a client that no limit holds, or only such as count on what
// the client itself writes into its mail: a stolen password sends under as many
// sender addresses as it likes.
func (x *crossCheck) guarded(name string, c policy.ClientConfig, limits []string) {
	chosen := []string{}
	for _, limit := range limits {
		l := x.Limit[limit]
		if !x.holds(l, c) || !x.everywhere(l, c, limits) {
			continue
		}
		if !slices.ContainsFunc(l.Per, func(d ratelimit.Dimension) bool { return chooses(c, d) }) {
			return
		}
		chosen = append(chosen, limit)
	}
	path := join("client", name)
	if len(chosen) == 0 {
		x.d.warn(path, fmt.Sprintf("no limit holds this client in full; write one, as [limit.%s] per = \"client\" messages = [\"1000/1h\"]", name))
		return
	}
	x.d.warn(path, fmt.Sprintf("its limits (%s) count only on addresses that it chooses itself; add one per client or user", strings.Join(chosen, ", ")))
}

// holds reports whether a limit of a client refuses its mail, whatever the mail is.
func (x *crossCheck) holds(l ratelimit.RuleConfig, c policy.ClientConfig) bool {
	switch {
	case !strangers.HasOwn(&l), l.Mode == ratelimit.Shadow, len(l.Per) == 0, len(l.Senders) > 0, len(l.RecipientsAt) > 0:
		return false
	case len(l.Streams) > 0 && !slices.Contains(l.Streams, c.Stream):
		return false
	case l.Absent != ratelimit.AbsentSkip:
		return true
	}
	return (len(c.Users) > 0 || !slices.Contains(l.Per, ratelimit.PerUser)) && !slices.Contains(l.Per, ratelimit.PerSubmitter) &&
		(len(x.Stream[c.Stream].SourceIP) > 0 || !slices.Contains(l.Per, ratelimit.PerSourceIP))
}

// everywhere reports whether a limit holds a client wherever its mail comes from, by
// itself or with another one for all other networks.
func (x *crossCheck) everywhere(l ratelimit.RuleConfig, c policy.ClientConfig, limits []string) bool {
	return len(l.Networks)+len(l.NotNetworks) == 0 || slices.ContainsFunc(limits, func(name string) bool {
		o := x.Limit[name]
		return slices.Equal(o.Networks, l.NotNetworks) && slices.Equal(o.NotNetworks, l.Networks) && len(l.Networks)*len(l.NotNetworks) == 0 && x.holds(o, c)
	})
}

// chooses reports whether a client can have many keys of a dimension, just by
// what it writes into its mail.
func chooses(c policy.ClientConfig, d ratelimit.Dimension) bool {
	open := ""
	switch d {
	case ratelimit.PerRecipientDomain:
		return true
	case ratelimit.PerSubmitter:
		return c.Names()
	case ratelimit.PerSender:
		open = "@"
	case ratelimit.PerSenderDomain:
		open = "@*."
	default:
		return false
	}
	return slices.ContainsFunc(c.Senders, func(s string) bool { return strings.HasPrefix(s, open) })
}
