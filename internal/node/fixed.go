package node

import (
	"reflect"

	"postern/internal/config"
)

// fixedKey is a key, or a table, that holds until the next start.
type fixedKey struct {
	key   string
	value func(*config.File) any
}

// fixedKeys is the whole list; docs/operations.md has the same one.
func fixedKeys() []fixedKey {
	return []fixedKey{
		{"state_dir", func(f *config.File) any { return f.StateDir }},
		{"store", func(f *config.File) any { return f.Store }},
		{"redis", func(f *config.File) any { return f.Redis }},
		{"journal", func(f *config.File) any { return f.Journal }},
		{"control", func(f *config.File) any { return f.Control }},
		{"admin.address", func(f *config.File) any { return f.Admin.Address }},
		{"admin.certificate", func(f *config.File) any { return f.Admin.Certificate != "" }},
		{"log.format", func(f *config.File) any { return f.Log.Format }},
		{"outlier.max_senders", func(f *config.File) any { return f.Outlier.MaxSenders }},
		{"outlier.max_known", func(f *config.File) any { return f.Outlier.MaxKnown }},
		{"reputation.look_back", func(f *config.File) any { return f.Reputation.LookBack }},
		// Another time takes effect at once; whether there are suppressions does not.
		{"reputation.suppress_for", func(f *config.File) any { return f.Reputation.SuppressFor > 0 }},
	}
}

// fixedAtStart lists those in which two configurations differ.
func fixedAtStart(old, file *config.File) (keys []string) {
	for _, k := range fixedKeys() {
		if !reflect.DeepEqual(k.value(old), k.value(file)) {
			keys = append(keys, k.key)
		}
	}
	return keys
}
