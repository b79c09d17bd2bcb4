package check

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/config"
	"postern/outlier"
	"postern/outlier/learn"
	strangerlimits "postern/ratelimit/strangers"
	"postern/reputation/identity"
)

// tryStrangers says until when limits on strangers refuse nothing, for each client whose
// past is not known yet.
func tryStrangers(f *config.File, now time.Time) (all []identity.Finding) {
	if !strangerlimits.Any(f.Limit) {
		return nil
	}
	dir := filepath.Join(f.StateDir, "outlier")
	since, err := outlier.WatchedSince(dir)
	read, unread := learn.Read(dir)
	err = errors.Join(err, unread)
	for _, client := range slices.Sorted(maps.Keys(f.Client)) {
		limits := strangerlimits.Names(f.Limit, client)
		if len(limits) == 0 {
			continue
		}
		found := identity.Finding{Check: "strangers", Subject: client, Status: identity.Pass, Asked: fmt.Sprintf("is its past known, for limits %v", limits)}
		first, seen := since[client]
		how := "watched since"
		if l := read[client].Since; !l.IsZero() && (!seen || l.Before(first)) {
			first, seen, how = l, true, "its past was read from the journal, since"
		}
		end := first.Add(strangerlimits.WatchedDays * 24 * time.Hour)
		switch {
		case err != nil:
			found.Status, found.Seen, found.Change = identity.Warn, err.Error(), "see that the state folder can be read from here"
		case !seen:
			found.Status, found.Seen = identity.Warn, fmt.Sprintf("it is in no file of counts, which are written as the relay stops, and its past was not found in the journal: these limits refuse nothing in the %d days from its first message on", strangerlimits.WatchedDays)
			found.Change = "wait; meanwhile limit recipients"
		case now.Before(end):
			found.Status, found.Seen = identity.Warn, fmt.Sprintf("%s %s: these limits refuse nothing until %s", how, first.Format(time.DateOnly), end.Format(time.DateOnly))
			found.Change = "wait; meanwhile limit recipients"
		default:
			found.Seen = how + " " + first.Format(time.DateOnly)
		}
		all = append(all, found)
	}
	return all
}
