package config

import (
	"slices"

	"postern/ratelimit"
)

// ClientLimits finds the limits of a client without asking each limit: there
// may be one for each of many clients.
type ClientLimits struct {
	own map[string][]string // by client, those that name it
	all []string            // those that name none
}

// LimitsByClient sorts limits by the clients that they name.
func LimitsByClient(limits map[string]ratelimit.RuleConfig) ClientLimits {
	l := ClientLimits{own: map[string][]string{}}
	for name, cfg := range limits {
		if len(cfg.Clients) == 0 {
			l.all = append(l.all, name)
		}
		for _, client := range cfg.Clients {
			l.own[client] = append(l.own[client], name)
		}
	}
	return l
}

// Of names the limits that concern a client, in order.
func (l *ClientLimits) Of(client string) []string {
	names := append(slices.Clone(l.all), l.own[client]...)
	slices.Sort(names)
	return slices.Compact(names)
}
