package control

import (
	"errors"
	"fmt"

	"postern/internal/api"
	"postern/internal/api/client"
	"postern/internal/phrase"
)

// readProviders reads the groups of receivers of a running relay; none of one that is too
// old to tell.
func readProviders(v *Verb) ([]api.Provider, error) {
	list, _, err := all[api.Provider](v, "/providers", nil, 0)
	var old client.Misuse
	if errors.As(err, &old) {
		return nil, nil
	}
	return list, err
}

// writeProviders writes a line for each group, and one for each thing that holds its mail
// back.
func writeProviders(line func(key, format string, args ...any), list []api.Provider) {
	for i := range list {
		p := &list[i]
		line(first(i, "providers"), "%s to %s: %s", p.Upstream, p.Provider, p.Use())
		for _, words := range holds(p) {
			line("", "  %s", words)
		}
	}
}

// holds is what keeps mail to a group back: back-offs, and budgets of new addresses.
func holds(p *api.Provider) (list []string) {
	for _, w := range p.Waits {
		list = append(list, fmt.Sprintf("mail of stream %s waits until %s%s", w.Stream, phrase.Time(w.Until), phrase.Prefixed(": ", phrase.Printable(w.Reply))))
	}
	for i := range p.Warmups {
		if r := &p.Warmups[i]; r.Budget > 0 {
			list = append(list, fmt.Sprintf("warm-up of %s: %s", r.Source, api.WarmupWords(r)))
		}
	}
	return list
}
