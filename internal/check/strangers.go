package check

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/config"
	"postern/outlier"
	"postern/ratelimit"
	strangerlimits "postern/ratelimit/strangers"
	"postern/reputation/identity"
)

// tryStrangers says until when limits on strangers refuse nothing, for each client whose
// past is not known yet.
func tryStrangers(f *config.File, now time.Time) (all []identity.Finding) {
	if !strangerlimits.Any(f.Limit) {
		return nil
	}
	since, err := outlier.WatchedSince(filepath.Join(f.StateDir, "outlier"))
	for _, client := range slices.Sorted(maps.Keys(f.Client)) {
		limits := limitsOnStrangers(f.Limit, client)
		if len(limits) == 0 {
			continue
		}
		found := identity.Finding{Check: "strangers", Subject: client, Status: identity.Pass, Asked: fmt.Sprintf("is its past known, for limits %v", limits)}
		first, seen := since[client]
		end := first.Add(strangerlimits.WatchedDays * 24 * time.Hour)
		switch {
		case err != nil:
			found.Status, found.Seen, found.Change = identity.Warn, err.Error(), "see that the state folder can be read from here"
		case !seen:
			found.Status, found.Seen = identity.Warn, fmt.Sprintf("it is in no file of counts, which are written as the relay stops: these limits refuse nothing in the %d days from its first message on", strangerlimits.WatchedDays)
			found.Change = "wait; meanwhile limit recipients"
		case now.Before(end):
			found.Status, found.Seen = identity.Warn, fmt.Sprintf("watched since %s: these limits refuse nothing until %s", first.Format(time.DateOnly), end.Format(time.DateOnly))
			found.Change = "wait; meanwhile limit recipients"
		default:
			found.Seen = "watched since " + first.Format(time.DateOnly)
		}
		all = append(all, found)
	}
	return all
}

// limitsOnStrangers names the limits on strangers that concern a client.
func limitsOnStrangers(limits map[string]ratelimit.RuleConfig, client string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		l := limits[name]
		if strangerlimits.In(&l) && (len(l.Clients) == 0 || slices.Contains(l.Clients, client)) {
			names = append(names, name)
		}
	}
	return names
}
