package check

import (
	"postern/internal/config"
	"postern/outlier"
	"postern/reputation/identity"
)

// WatchFiles says which file of [outlier] (decoys, as_table) cannot be read; the relay does
// not start with it.
func WatchFiles(f *config.File) error {
	return outlier.TryFiles(f.Outlier, outlier.Options{Parse: config.ParseAddress})
}

// tryWatchFiles reads the files that the watch on senders reads at its start.
func tryWatchFiles(f *config.File) []identity.Finding {
	if f.Outlier.ASTable == "" && len(f.Outlier.Decoys) == 0 {
		return nil
	}
	found := identity.Finding{Check: "outlier", Subject: "files", Status: identity.Pass, Asked: "can decoys and as_table of [outlier] be read", Seen: "they can"}
	if err := WatchFiles(f); err != nil {
		found.Status, found.Seen, found.Change = identity.Fail, err.Error(), "mend the file; the relay does not start with it"
	}
	return []identity.Finding{found}
}
