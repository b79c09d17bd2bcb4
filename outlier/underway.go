package outlier

import (
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// A message counts when it ends. Until then its recipients are on their way: many
// prepared messages could otherwise end at one moment, before the first of them is
// counted and raises the alarm. So what would hold its submitter if it were counted
// now waits while other mail of that submitter is on its way. It is not an alarm, and
// nothing is learned from it.

// flightWait is what a message is told to wait for others that are on their way.
const flightWait = 2 * time.Second

// flights are the recipients on their way.
type flights struct {
	of map[string]flight  // by the id of the transaction
	by map[uint64]traffic // by the submitter, see detector.Keys
}

// flight is a transaction on its way.
type flight struct {
	sender, wide uint64 // keys of its submitters; 0: none
	n            int    // recipients
	shared       int    // those that the user or client answers for, too
}

// traffic is what a sender, user or client has on its way, in recipients.
type traffic struct {
	n int
	// shared are those of a sender that its user or client answers for, too.
	shared int
	// top is the key of the sender of a user or client that has the most of them.
	top uint64
}

// set puts a transaction on its way, or changes how many recipients it has there.
func (f *flights) set(id string, t flight) {
	was, known := f.of[id]
	if !known && len(f.of) >= maxAdmitted {
		return
	}
	f.of[id] = t
	f.add(t.wide, t.shared-was.shared, 0)
	if t.sender == 0 {
		return
	}
	f.add(t.sender, t.n-was.n, t.shared-was.shared)
	if c := f.by[t.wide]; t.shared > 0 && f.by[t.sender].shared >= f.by[c.top].shared {
		c.top = t.sender
		f.by[t.wide] = c
	}
}

// end takes a transaction off.
func (f *flights) end(id string) {
	t, ok := f.of[id]
	if !ok {
		return
	}
	delete(f.of, id)
	f.add(t.wide, -t.shared, 0)
	if t.sender != 0 {
		f.add(t.sender, -t.n, -t.shared)
	}
}

func (f *flights) add(key uint64, n, shared int) {
	c := f.by[key]
	c.n += n
	c.shared += shared
	if c.n <= 0 {
		delete(f.by, key)
		return
	}
	f.by[key] = c
}

// takeOff says whether a message of n recipients waits for others of its submitter,
// and notes it as on its way if it does not. user is a detector.Party: where the
// header has told a submitter, what was on its way for the client is so for that one.
func (w *Watch) takeOff(id, client, user, stream string, from mail.Identity, n int) Judgment {
	t := w.flights.of[id]
	sender := senderName(from)
	narrow, wide := w.detector.Keys(client, user, sender)
	if t.n > 0 && (t.sender != narrow || t.wide != wide) {
		w.flights.end(id)
		t = flight{}
	}
	if n <= t.n {
		return Judgment{} // it is on its way
	}
	was := t
	t.sender, t.wide = narrow, wide
	explained := w.rules.bulkStreams[stream] || w.rules.exempt.Match(from)
	if t.sender != 0 {
		others := w.flights.by[t.sender].n - was.n
		if others > 0 || n > detector.SmallMessage {
			k := detector.Submitter(user, sender)
			p := w.project(k, client, others+n)
			if p.holds && others > 0 {
				return w.crowded(k)
			}
			explained = explained || p.explained
		}
	}
	t.n, t.shared = n, 0
	if !explained {
		t.shared = n
		if more := w.flights.around(&t, &was); more > 0 {
			k := detector.PartyWho(user)
			if user == "" {
				k = detector.Who{Scope: Client, Name: client}
			}
			if w.project(k, client, more).holds {
				return w.crowded(k)
			}
		}
	}
	w.flights.set(id, t)
	return Judgment{}
}

// around is how many recipients of a user or client would be on their way with t,
// which has been there as was, apart from the sender with the most: a single sender
// is not their fault. It is 0 when there are no others.
func (f *flights) around(t, was *flight) int {
	c := f.by[t.wide]
	others := c.n - was.shared
	if others <= 0 {
		return 0
	}
	largest := f.by[c.top].shared
	if t.sender != 0 {
		largest = max(largest, f.by[t.sender].shared-was.shared+t.shared)
	}
	return others + t.shared - largest
}

// crowded is the answer to a message that waits for others of k.
func (w *Watch) crowded(k detector.Who) Judgment {
	v := judgmentOn(k)
	v.Unnamed = k.Scope == Sender
	v.Level, v.Until, v.left = Throttled, w.clock.read().Add(flightWait), flightWait
	return v
}

// projection is what would follow if mail on its way were counted now.
type projection struct {
	holds     bool // its submitter would be throttled or suspended
	explained bool // it would be expected of the sender, or a regular run of it
}

// project looks at k as if so many more recipients had been sent, all of them known
// and none refused.
func (w *Watch) project(k detector.Who, client string, more int) (p projection) {
	now := w.clock.read()
	f := w.detector.Project(now.Unix(), k, client, more, w.rules.expect(now))
	p.explained = w.detector.Explained(&f)
	if s := w.states[k]; s != nil && s.Level >= Throttled {
		return p // judge has said what is done about it
	}
	if f.Score >= 1 && (k.Scope == User || k.Scope == Mailbox || k.Scope == Client) {
		w.detector.WithoutLargest(now.Unix(), &f, client)
	}
	to := w.rules.Volume.level(float64(f.Score) * w.rules.policy(client).Sensitivity)
	if len(w.rules.InternalDomains) > 0 {
		to = w.rules.Volume.soften(to) // all of them may be there
	}
	p.holds = to >= Throttled && w.rules.mode(k, client) == Enforce
	return p
}
