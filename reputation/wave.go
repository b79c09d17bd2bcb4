package reputation

import (
	"fmt"
	"maps"
	"time"

	"postern/internal/resolve"
	"postern/reputation/identity"
)

// waves tells receivers whose directory is away from recipients that do not exist:
// when many refusals for "no such user" come at once, and most of what goes to the
// domain hears them, the trouble is the receiver's.
type waves struct {
	domains map[string]*wave
	swept   int64 // minute at which there was last too little room
}

// wave counts what one domain has said, by the minute.
type wave struct {
	minutes [waveMinutes]struct{ unknown, all int }
	minute  int64 // the newest one, since 1970
	on      bool
}

const (
	waveMinutes = 10
	waveOver    = 20     // refusals; more make a wave, when they are over half of all
	maxWaves    = 10_000 // domains that are counted; those beyond are not
)

// note counts one verdict on a recipient of domain. It reports whether a wave goes
// on there, and whether this very verdict began it.
func (w *waves) note(domain string, unknown bool, now time.Time) (on, began bool) {
	d := w.domains[domain]
	if d == nil {
		if !w.room(minuteOf(now)) {
			return false, false
		}
		d = &wave{minute: minuteOf(now)}
		w.domains[domain] = d
	}
	d.turn(minuteOf(now))
	m := &d.minutes[d.minute%waveMinutes]
	m.all++
	if unknown {
		m.unknown++
	}
	was := d.on
	d.on = d.high(was)
	return d.on, d.on && !was
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// turn forgets the minutes that are over. A clock that is put back begins anew.
func (d *wave) turn(minute int64) {
	if minute < d.minute || minute-d.minute >= waveMinutes {
		*d = wave{minute: minute}
		return
	}
	for d.minute < minute {
		d.minute++
		d.minutes[d.minute%waveMinutes] = struct{ unknown, all int }{}
	}
}

// high reports whether there are so many refusals that they make a wave. One that
// is on ends at half of what began it, so that it does not begin again and again.
func (d *wave) high(on bool) bool {
	unknown, all := 0, 0
	for _, m := range d.minutes {
		unknown, all = unknown+m.unknown, all+m.all
	}
	if on {
		return 2*unknown > waveOver && 4*unknown > all
	}
	return unknown > waveOver && 2*unknown > all
}

// room forgets domains of which nothing was heard, where there are too many; once
// a minute.
func (w *waves) room(minute int64) bool {
	if len(w.domains) >= maxWaves && w.swept != minute {
		w.swept = minute
		maps.DeleteFunc(w.domains, func(_ string, d *wave) bool { return minute-d.minute >= waveMinutes })
	}
	return len(w.domains) < maxWaves
}

// waveEvent tells that a wave of a domain begins.
func waveEvent(domain string, now time.Time) *Event {
	return &Event{Time: now, Kind: EventWave, Status: identity.Warn, Subject: resolve.Printable(domain),
		Text: fmt.Sprintf("over %d recipients, and over half of all, were refused as unknown within %d minutes; that is taken for trouble of the receiver, "+
			"and no recipient there is suppressed until it is over", waveOver, waveMinutes)}
}
