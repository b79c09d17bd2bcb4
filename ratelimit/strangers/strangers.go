// Package strangers makes limits on strangers out of tables [limit.NAME] that have
// numbers for them: recipients to whom a client, or a sender, has never written before.
// Such a limit is one on recipients that leaves out all that are known. So it is hard,
// counts in any window and on any key, and is shared by nodes as every other is.
package strangers

import (
	"maps"
	"slices"

	"postern/ratelimit"
)

// Suffixes of the names of the limits that a table with the name of the rest makes. No
// table may have a name that ends so.
const (
	Suffix    = ".strangers"
	NewSuffix = ".strangers_new"
)

// WatchedDays is for how many days a client must have been watched until its limits on
// strangers refuse anything: before that everybody would be a stranger.
const WatchedDays = 14

// NewDays is the age in days, the first one being 0, up to which a sender is new.
const NewDays = 1

// Expand returns the limits of all tables: each table itself where it HasOwn numbers, and
// the limits on strangers that it asks for, under its name with Suffix or NewSuffix.
func Expand(tables map[string]ratelimit.RuleConfig) map[string]ratelimit.RuleConfig {
	limits := maps.Clone(tables)
	if limits == nil {
		limits = map[string]ratelimit.RuleConfig{}
	}
	for name, t := range tables {
		only := ratelimit.Only{Strangers: t.StrangersOf}
		if only.Strangers == "" {
			only.Strangers = ratelimit.OfClient
		}
		add(limits, name+Suffix, &t, t.Strangers, only)
		only.NewSenders = true
		add(limits, name+NewSuffix, &t, t.StrangersNew, only)
		if In(&t) && !HasOwn(&t) {
			delete(limits, name)
		}
	}
	return limits
}

func add(limits map[string]ratelimit.RuleConfig, name string, of *ratelimit.RuleConfig, n ratelimit.Numbers, only ratelimit.Only) {
	if len(n) == 0 {
		return
	}
	limits[name] = ratelimit.RuleConfig{
		Per: of.Per, Absent: of.Absent, Recipients: n, Clients: of.Clients, Streams: of.Streams, Senders: of.Senders,
		Networks: of.Networks, NotNetworks: of.NotNetworks, RecipientsAt: of.RecipientsAt, RecipientsNotAt: of.RecipientsNotAt, Mode: of.Mode, OnStoreFailure: of.OnStoreFailure,
		FoldTag: of.FoldTag, Only: only,
	}
}

// In reports whether a table has numbers for strangers.
func In(t *ratelimit.RuleConfig) bool { return len(t.Strangers)+len(t.StrangersNew) > 0 }

// HasOwn reports whether a table has numbers apart from those on strangers.
func HasOwn(t *ratelimit.RuleConfig) bool {
	return len(t.Messages)+len(t.Recipients)+len(t.Bytes)+len(t.DistinctRecipients)+len(t.Overrides) > 0
}

// OfSenders reports whether any table counts recipients who are strangers to the sender.
func OfSenders(tables map[string]ratelimit.RuleConfig) bool {
	for _, t := range tables {
		if t.StrangersOf == ratelimit.OfSender && In(&t) {
			return true
		}
	}
	return false
}

// Any reports whether a table counts strangers at all.
func Any(tables map[string]ratelimit.RuleConfig) bool {
	for _, t := range tables {
		if In(&t) {
			return true
		}
	}
	return false
}

// Names are the tables that count strangers of a client, in their order.
func Names(tables map[string]ratelimit.RuleConfig, client string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		t := tables[name]
		if In(&t) && (len(t.Clients) == 0 || slices.Contains(t.Clients, client)) {
			names = append(names, name)
		}
	}
	return names
}
