package console

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"postern/internal/api"
)

// groupRow is one group of receivers, as one upstream with mx = true uses it.
type groupRow struct {
	Name    string
	Use     string // in words
	Waits   []waitRow
	Warmups []warmupRow
}

type waitRow struct {
	Stream, Reply string
	Until         *moment
}

type warmupRow struct {
	Source, Words, Holds string
}

// maxGroups is how many groups of one upstream are shown, and maxLines how many back-offs
// and budgets of one group.
const (
	maxGroups = 12
	maxLines  = 6
)

// byUpstream tells the groups of each upstream, in order.
func byUpstream(all []api.Provider) iter.Seq2[string, []api.Provider] {
	of := map[string][]api.Provider{}
	for i := range all {
		of[all[i].Upstream] = append(of[all[i].Upstream], all[i])
	}
	return func(yield func(string, []api.Provider) bool) {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			if !yield(name, of[name]) {
				return
			}
		}
	}
}

// ownGroups adds the groups that this node uses.
func (v *visit) ownGroups(p *upstreamsPart, of func(string) *upstreamRow) {
	all, err := v.api.Providers(v.request.Context(), api.PageQuery{Limit: 1000})
	if err != nil {
		p.Problem = v.words(err.Error())
		return
	}
	for upstream, groups := range byUpstream(all.Items) {
		v.addGroups(of(upstream), groups)
	}
}

// addGroups shows what an upstream's mail to groups of receivers does: first what waits,
// then what is used most.
func (v *visit) addGroups(r *upstreamRow, groups []api.Provider) {
	slices.SortStableFunc(groups, func(a, b api.Provider) int {
		return cmp.Or(cmp.Compare(min(len(b.Waits), 1), min(len(a.Waits), 1)), cmp.Compare(b.InUse+b.Waiting, a.InUse+a.Waiting), cmp.Compare(b.Open, a.Open))
	})
	for i := range groups[:min(len(groups), maxGroups)] {
		r.Groups = append(r.Groups, v.groupRow(&groups[i]))
	}
	if more := len(groups) - len(r.Groups); more > 0 {
		r.More = fmt.Sprintf("%s more, without a back-off or less used", counted(more, "group", "groups"))
	}
}

func (v *visit) groupRow(p *api.Provider) groupRow {
	g := groupRow{Name: clean(p.Provider), Use: p.Use()}
	for _, w := range p.Waits[:min(len(p.Waits), maxLines)] {
		g.Waits = append(g.Waits, waitRow{clean(w.Stream), v.words(w.Reply), v.moment(w.Until)})
	}
	for i := range p.Warmups[:min(len(p.Warmups), maxLines)] {
		w := &p.Warmups[i]
		if w.Budget > 0 {
			g.Warmups = append(g.Warmups, warmupRow{clean(w.Source), api.WarmupWords(w), clean(w.Holds)})
		}
	}
	return g
}
