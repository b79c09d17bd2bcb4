package check

import (
	"errors"
	"fmt"
	"os"
	"time"

	"postern/internal/config"
	"postern/internal/find"
	"postern/mail"
	"postern/outlier/tune"
	"postern/reputation/identity"
)

// tryFalseAlarms says until when the default sensitivity holds, where the journal is to
// tell which one raises as many false alarms as are accepted.
func tryFalseAlarms(f *config.File, now time.Time) []identity.Finding {
	if f.Outlier.FalseAlarms == 0 {
		return nil
	}
	found := identity.Finding{Check: "false_alarms", Subject: f.Outlier.FalseAlarms.String(), Status: identity.Pass, Asked: "is the journal long enough to find the sensitivity"}
	first, err := journalSince(f.Journal.File, now)
	end := tune.EnoughAt(first)
	switch {
	case err != nil:
		found.Status, found.Seen, found.Change = identity.Warn, err.Error(), "see that the journal can be read from here"
	case first.IsZero():
		found.Status, found.Change = identity.Warn, "wait"
		found.Seen = fmt.Sprintf("it is empty: the default sensitivity holds for the first %d days", tune.Teaching+tune.Judged)
	case now.Before(end):
		found.Status, found.Change = identity.Warn, "wait, and see that journal.keep leaves so much"
		found.Seen = fmt.Sprintf("it begins on %s: the default sensitivity holds until %s", first.Format(time.DateOnly), end.Format(time.DateOnly))
	default:
		found.Seen = fmt.Sprintf("it begins on %s; relay outliers tune says what it asks for", first.Format(time.DateOnly))
	}
	return []identity.Finding{found}
}

// errEnough ends the reading of a journal.
var errEnough = errors.New("more need not be read")

// journalSince is the time of the first event of a journal with its files that were set
// aside; zero: there is none before now.
func journalSince(journal string, now time.Time) (time.Time, error) {
	begins := tune.Beginning{Now: now}
	_, err := find.Past(journal, func(ev *mail.Event) error {
		if begins.Add(ev.Time) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return begins.First(), err
}
