package detector

import (
	"time"

	"postern/outlier/detector/arithmetic"
)

var kindNames = [kinds]string{"sent", "new", "refused"}
var windowNames = [windows]string{"1h", "24h", "days"}

// regular lists the runs that have come again.
func (f *Finding) regular() (all []arithmetic.Regular) {
	if f.runs == nil {
		return nil
	}
	for i := range f.runs.past {
		if p := &f.runs.past[i]; p.times == 2 {
			all = append(all, arithmetic.Regular{
				Recipients: float64(p.top[sent][day]), New: float64(p.top[fresh][day]),
				Last: time.Unix(int64(p.day)*daySeconds, 0).UTC(), Days: int(p.gap),
			})
		}
	}
	return all
}

// arguments are how the score of f came about.
func (d *Detector) arguments(f *Finding) *arithmetic.Score {
	s := f.scale
	a := &arithmetic.Score{
		Value: float64(f.Score), Sensitivity: float64(d.tuning.sensitivity), Ease: float64(f.e.ease(s)), Alone: s == &aloneScale,
		Regular: f.regular(), Early: d.Early(f),
	}
	switch f.by {
	case byNewcomer:
		a.Newcomer = float64(f.sums[fresh][hour])
	case byLasting:
		w := f.lastingWindow
		a.Lasting = &arithmetic.Lasting{
			Window: windowNames[w], Now: float64(f.sums[fresh][w]), Record: float64(f.e.lasting[w]), Usual: float64(f.lastingUsual(w)),
			Pad: float64(lastingScale[w].pad), Times: float64(lastingScale[w].times),
		}
	}
	for k := range kinds {
		i := f.evidence[k].window
		p := arithmetic.Part{
			Kind: kindNames[k], Window: windowNames[i], Now: float64(f.sums[k][i]),
			Usual: float64(f.e.usual(k, i, f.floor, s)), Record: float64(f.e.record[k][i]),
			Width: float64(s.width[k][i]), Slope: float64(s.slope[k][i]), Bend: float64(s.bend[k]), Most: float64(s.most[k]),
			Value: float64(f.evidence[k].value),
		}
		if granted := float64(s.grant * f.sums[sent][i]); k == refused && granted > p.Usual {
			p.Usual, p.Grant = granted, float64(s.grant)
		}
		a.Parts = append(a.Parts, p)
	}
	return a
}
