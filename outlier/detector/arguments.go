package detector

import (
	"strconv"
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

// plain is x as one writes it: 2.9, where the nearest float32 is 2.9000001.
func plain(x float32) float64 {
	y, _ := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
	return y
}

// arguments are how the score of f came about.
func (d *Detector) arguments(f *Finding) *arithmetic.Score {
	s := f.scale
	a := &arithmetic.Score{
		Value: float64(f.Score), Sensitivity: plain(d.tuning.sensitivity), Ease: float64(f.e.ease(s)), Alone: s == &aloneScale,
		Regular: f.regular(), Early: d.Early(f),
	}
	switch f.by {
	case byNewcomer:
		a.Newcomer = float64(f.sums[fresh][hour])
	case byLasting:
		w := f.lastingWindow
		a.Lasting = &arithmetic.Lasting{
			Window: windowNames[w], Now: float64(f.sums[fresh][w]), Record: float64(f.e.lasting[w]), Usual: float64(f.lastingUsual(w)),
			Pad: plain(lastingScale[w].pad), Times: plain(lastingScale[w].times),
		}
	}
	for k := range kinds {
		i := f.evidence[k].window
		p := arithmetic.Part{
			Kind: kindNames[k], Window: windowNames[i], Now: float64(f.sums[k][i]),
			Usual: float64(f.e.usual(k, i, f.floor, s)), Record: float64(f.e.record[k][i]),
			Width: plain(s.width[k][i]), Slope: plain(s.slope[k][i]), Bend: plain(s.bend[k]), Most: plain(s.most[k]),
			Value: plain(f.evidence[k].value), // is held against Most
		}
		if granted := float64(s.grant * f.sums[sent][i]); k == refused && granted > p.Usual {
			p.Usual, p.Grant = granted, plain(s.grant)
		}
		a.Parts = append(a.Parts, p)
	}
	return a
}
