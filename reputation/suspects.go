package reputation

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Suspect is a possible cause of a listing.
type Suspect struct {
	Kind   string `json:"kind"` // sender, user or client
	Name   string `json:"name"`
	Stream string `json:"stream"`
	Client string `json:"client,omitempty"`
	User   string `json:"user,omitempty"`
	// Score is how far it left what was usual for it; from NoSuspect on it is
	// worth a look.
	Score float64 `json:"score"`
	// Recipients, Strangers and Refused are those of the hours looked at, and
	// the most of a day before.
	Recipients      int       `json:"recipients"`
	Strangers       int       `json:"strangers"`
	Refused         int       `json:"refused"`
	UsualRecipients int       `json:"usual_recipients"`
	UsualStrangers  int       `json:"usual_strangers"`
	UsualRefused    int       `json:"usual_refused"`
	BusiestHour     int       `json:"busiest_hour"`
	UsualHour       int       `json:"usual_hour"`
	NewSenders      int       `json:"new_senders,omitempty"` // of users and clients
	First           time.Time `json:"first"`                 // mail ever
	Outlier         float64   `json:"outlier,omitempty"`     // score of the outlier watch
	Why             []string  `json:"why"`
	Transactions    []string  `json:"transactions"` // ids of samples
}

// NoSuspect is the Score below which nobody is a suspect.
const NoSuspect = 6.5

// Suspects ranks who may have caused a listing of an address or domain of these streams, by
// what changed in the hours before at. Nil streams are all. outlier returns the score of
// the outlier watch; nil: it does not count.
func (h *History) Suspects(streams []string, at time.Time, outlier func(kind, name, client string) float64) []Suspect {
	var list []Suspect
	for k, e := range h.entities {
		if streams != nil && !slices.Contains(streams, k.Stream) {
			continue
		}
		if e.Last.Before(at.Add(-h.lookBack)) {
			continue
		}
		list = append(list, h.judge(k, e, at))
	}
	sortSuspects(list)
	if outlier != nil {
		for i := range list[:min(len(list), maxScored)] {
			s := &list[i]
			s.Outlier = outlier(s.Kind, s.Name, s.Client)
			s.weigh(s.Outlier)
		}
		sortSuspects(list)
	}
	return dropEchoes(list)
}

// maxScored is how many of the first are looked up in the outlier watch.
const maxScored = 100

func sortSuspects(list []Suspect) {
	slices.SortFunc(list, func(a, b Suspect) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)), cmp.Compare(a.Name, b.Name))
	})
}

// kindRank puts the narrower kind first.
func kindRank(kind string) int {
	return slices.Index([]string{string(aSender), string(aUser), string(aClient)}, kind)
}

// weigh adds the word of the outlier watch, which has seen more of the past.
func (s *Suspect) weigh(score float64) {
	if score >= 1 {
		s.Score += min(2*score, 6)
		s.Why = append(s.Why, fmt.Sprintf("outlier score %.1f", score))
	}
}

// dropEchoes leaves out users and clients that stand out only by one sender
// that is named already: at least nine tenths of their recipients are its. The
// list is ranked, and only what stands before an entry counts as named. It
// takes linear time: a sender can invent as many names as it likes.
func dropEchoes(list []Suspect) []Suspect {
	type place struct {
		kind         entityKind
		stream, name string
	}
	most := map[place]int{} // recipients of the largest sender named so far
	note := func(kind entityKind, stream, name string, recipients int) {
		k := place{kind, stream, name}
		most[k] = max(most[k], recipients)
	}
	var kept []Suspect
	for _, s := range list {
		if n, ok := most[place{entityKind(s.Kind), s.Stream, s.Name}]; ok && s.Kind != string(aSender) && n*10 >= s.Recipients*9 {
			continue
		}
		if s.Kind == string(aSender) {
			note(aUser, s.Stream, s.User, s.Recipients)
			note(aClient, s.Stream, s.Client, s.Recipients)
		}
		kept = append(kept, s)
	}
	return kept
}

// judge holds the hours before at against what was usual.
func (h *History) judge(k entityKey, e *entity, at time.Time) Suspect {
	e.fold(at.Add(-h.lookBack - settling))
	hour, day, names := e.window(at.Add(-h.lookBack), at)
	p := e.Past.usual()
	s := Suspect{Kind: string(k.Kind), Name: k.Name, Stream: k.Stream, Client: e.Client, User: e.User, First: e.First,
		Recipients: int(day.Recipients), Strangers: int(day.Strangers), Refused: int(day.Refused), BusiestHour: int(hour.Recipients),
		UsualRecipients: int(p.Day.Recipients), UsualStrangers: int(p.Day.Strangers), UsualRefused: int(p.Day.Refused),
		UsualHour: int(p.Hour.Recipients)}
	s.add(excess(float64(hour.Recipients), p.Hour.Recipients, weights.hour), "%d recipients in an hour, at most %d before", s.BusiestHour, s.UsualHour)
	s.add(excess(float64(day.Recipients), p.Day.Recipients, weights.day), "%d recipients, at most %d a day before", s.Recipients, s.UsualRecipients)
	s.add(excess(float64(day.Strangers), p.Day.Strangers, weights.strangers), "%d strangers, at most %d a day before", s.Strangers, s.UsualStrangers)
	s.add(excess(float64(day.Refused), p.Day.Refused, weights.refused), "%d refused, at most %d a day before", s.Refused, s.UsualRefused)
	if k.Kind != aSender {
		s.NewSenders = int(names)
		s.add(excess(float64(names), p.Names, weights.names), "%d new sender names, at most %d in an hour before", s.NewSenders, int(p.Names))
	}
	if e.First.After(at.Add(-h.lookBack)) && h.began.Before(at.Add(-2*h.lookBack)) {
		s.Why = append(s.Why, "first mail ever on "+e.First.UTC().Format(time.DateTime))
	}
	for _, x := range e.Samples {
		if !x.Time.Before(at.Add(-h.lookBack)) && !x.Time.After(at) {
			s.Transactions = append(s.Transactions, x.ID)
		}
	}
	return s
}

func (s *Suspect) add(score float64, format string, args ...any) {
	if score <= 0 {
		return
	}
	s.Score += score
	s.Why = append(s.Why, fmt.Sprintf(format, args...))
}

// weight tunes one part of a score.
type weight struct {
	floor float64 // what counts as usual at least
	slope float64 // of a doubling
	scale float64
}

var weights = struct{ hour, day, strangers, refused, names weight }{
	hour:      weight{4, 4, 0.5},
	day:       weight{8, 4, 0.5},
	strangers: weight{3, 4, 1},
	refused:   weight{1, 5, 1.5},
	names:     weight{2, 4, 1},
}

// excess is how far x exceeds the most before: by how many standard deviations
// of a count, but no more than the ratio is worth, so that neither small nor
// large senders stand out by themselves.
func excess(x, before float64, w weight) float64 {
	m := max(before, w.floor)
	if x <= m {
		return 0
	}
	return w.scale * min(2*(math.Sqrt(x)-math.Sqrt(m)), w.slope*math.Log2(x/m))
}

// usual is the past with the day that is being summed up.
func (p *past) usual() past {
	u := *p
	u.Day.raise(p.DaySum)
	return u
}

// window returns, of the hours between two times, the busiest one, the busiest
// 24 in a row, and the most new names in one.
func (e *entity) window(from, to time.Time) (hour, day tally, names uint32) {
	var sum tally
	start, _ := slices.BinarySearchFunc(e.Hours, from.Unix()/3600, func(b bucket, h int64) int { return cmp.Compare(b.Hour, h) })
	oldest := start
	for i := start; i < len(e.Hours) && e.Hours[i].Hour <= to.Unix()/3600; i++ {
		b := &e.Hours[i]
		for e.Hours[oldest].Hour <= b.Hour-24 {
			sum.sub(e.Hours[oldest].Count)
			oldest++
		}
		sum.add(b.Count)
		hour.raise(b.Count)
		day.raise(sum)
		names = max(names, b.Senders)
	}
	return hour, day, names
}

func (t *tally) sub(o tally) {
	t.Messages -= o.Messages
	t.Recipients -= o.Recipients
	t.Strangers -= o.Strangers
	t.Refused -= o.Refused
}

func (t *tally) raise(o tally) {
	t.Messages = max(t.Messages, o.Messages)
	t.Recipients = max(t.Recipients, o.Recipients)
	t.Strangers = max(t.Strangers, o.Strangers)
	t.Refused = max(t.Refused, o.Refused)
}

// Explain says in one line why s is a suspect.
func (s *Suspect) Explain() string { return strings.Join(s.Why, "; ") }
