package find

import (
	"slices"

	"postern/internal/eventlog"
	"postern/mail"
)

// Past calls f for each event of a journal and of what was set aside of it, the oldest
// first, also while it is written to, and says how many lines were passed over as
// damaged. An error of f ends it and is returned.
func Past(journal string, f func(*mail.Event) error) (skipped int, err error) {
	files, err := Files(journal)
	if err != nil {
		return 0, err
	}
	slices.Reverse(files)
	return eventlog.Skim(files, f)
}
