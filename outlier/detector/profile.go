package detector

import (
	"iter"
	"time"

	"postern/outlier/detector/arithmetic"
	"postern/outlier/detector/compact"
)

// Profile is what a detector knows of a sender, user or client at a moment.
type Profile struct {
	Client string // that it was first seen with
	Score  float64
	// Hour and Day are the recipients of the last hour and the last 24 hours, UsualHour
	// and UsualDay the records of them.
	Hour, UsualHour, Day, UsualDay int
	Away                           int       // recipients turned away, aborted or shadowed, of about the last hour
	Last                           time.Time // latest event
	Messages                       int
	First                          time.Time // day of the first event

	d *Detector
	f Finding
}

// Window is one kind in one window.
type Window struct {
	Kind   string  `json:"kind"`   // sent, new, refused
	Window string  `json:"window"` // 1h, 24h, days
	Now    float64 `json:"now"`
	Record float64 `json:"record"`
}

// SenderNames are the sender names of a user or client.
type SenderNames struct {
	Score     float64 `json:"score"`
	InUse     float64 `json:"in_use"` // within the hour
	New       float64 `json:"new"`    // within 24 hours
	UsualNew  float64 `json:"usual_new"`
	Together  float64 `json:"together"` // by how much the scores of senders rose within 24 hours
	UsualRise float64 `json:"usual_together"`
}

// All yields everybody who has sent something.
func (d *Detector) All() iter.Seq[Who] {
	return func(yield func(Who) bool) {
		d.meters.all(func(e *entry) bool { return e.whose(yield) })
	}
}

// Part lists those of All in n places, one or two of each, from a place on, the first being 0. next is where
// the rest begins; 0: there is none. Whoever does something else between the parts may
// miss somebody or see him twice.
func (d *Detector) Part(from, n int) (part []Who, next int) {
	end := min(from+n, int(d.meters.next))
	for i := from; i < end; i++ {
		if e := d.meters.at(uint32(i)); e.used {
			e.whose(func(who Who) bool {
				part = append(part, who)
				return true
			})
		}
	}
	if end == int(d.meters.next) {
		end = 0
	}
	return part, end
}

// Has reports whether who has sent something.
func (d *Detector) Has(who Who) bool { return d.look(who) != nil }

// Messages is how many messages who has sent.
func (d *Detector) Messages(who Who) int {
	if e := d.look(who); e != nil {
		return int(e.messages)
	}
	return 0
}

// Profile describes who; ok is false when it has sent nothing.
func (d *Detector) Profile(now int64, who Who, expect Expect) (p Profile, ok bool) {
	e := d.look(who)
	if e == nil {
		return p, false
	}
	f := d.present(now, e, expect.of(who))
	return Profile{
		Client: d.byNum[e.client].name, Score: float64(f.Score),
		Hour: whole(f.all[sent][hour]), UsualHour: whole(f.e.record[sent][hour]),
		Day: whole(f.all[sent][day]), UsualDay: whole(f.e.record[sent][day]),
		Away: whole(f.e.away), Last: time.Unix(int64(e.last), 0),
		Messages: int(e.messages), First: time.Unix(int64(e.born)*daySeconds, 0).UTC(),
		d: d, f: f,
	}, true
}

// present scores a copy of an entry as it stands now.
func (d *Detector) present(now int64, e *entry, floor *table) Finding {
	c := *e
	c.roll(now)
	return d.assess(&c, d.blamed(e, now), floor, d.scale(&c))
}

func whole(f float32) int { return int(f + 0.5) }

// Windows are all kinds in all windows, with their records.
func (p *Profile) Windows() (all []Window) {
	for k := range kinds {
		for i := range windows {
			all = append(all, Window{kindNames[k], windowNames[i], float64(p.f.all[k][i]), float64(p.f.e.record[k][i])})
		}
	}
	return all
}

// History are the recipients of the last 14 days, give or take a fifth, today last.
func (p *Profile) History() (all []int) {
	for i := historyDays - 1; i >= 0; i-- {
		all = append(all, whole(compact.HistoryOf(p.f.e.history[i])))
	}
	return all
}

// Explain is the arithmetic of the score. It holds until the detector is next changed.
func (p *Profile) Explain() *arithmetic.Score { return p.d.arguments(&p.f) }

// SenderNames are those of a user or client; nil of others, and where there are none.
func (d *Detector) SenderNames(now int64, who Who) *SenderNames {
	sc := ofUserNames
	switch who.Scope {
	case User, Mailbox:
	case Client:
		sc = ofClientNames
	default:
		return nil
	}
	e := d.meters.find(sc, who.meterName())
	if s := d.meters.soloOf(who.meterName()); e == nil && sc == ofUserNames && s != nil {
		e = &entry{meter: d.oneName(s, &s.meter), client: s.client, scope: sc, name: who.Name}
	}
	if e == nil {
		return nil
	}
	f := d.present(now, e, nil)
	return &SenderNames{
		Score: float64(f.Score), InUse: float64(f.sums[refused][hour]),
		New: float64(f.sums[fresh][day]), UsualNew: float64(f.e.record[fresh][day]),
		Together: float64(f.sums[sent][day]), UsualRise: float64(f.e.record[sent][day]),
	}
}

// entries are the meters of who, to be changed: its volume, its sender names, those under alarm, and
// what is the fault of others, as far as there are such.
func (d *Detector) entries(who Who) (all []*entry) {
	d.partOf(who.meter(), who.meterName())
	scopes := []scope{who.meter()}
	switch who.Scope {
	case User, Mailbox:
		scopes = append(scopes, ofUserNames, ofUserAlarms, ofUserOthers)
	case Client:
		scopes = append(scopes, ofClientNames, ofClientAlarms, ofClientOthers)
	}
	for _, sc := range scopes {
		if e := d.meters.find(sc, who.meterName()); e != nil {
			all = append(all, e)
		}
	}
	return all
}

// volumes yields the meters of volume that an event counts for, where there are any
// yet.
func (d *Detector) volumes(ev *Event) iter.Seq[*entry] {
	if s := d.meters.soloOf(ev.User); s != nil && !d.meters.isFor(s, ev.User, ev.Sender) {
		d.partUser(ev.User)
	}
	return func(yield func(*entry) bool) {
		for _, who := range Parties(ev.Client, ev.User, ev.Sender) {
			if who.Name == "" {
				continue
			}
			if e := d.meters.find(who.meter(), who.meterName()); e != nil && !yield(e) {
				return
			}
		}
	}
}
