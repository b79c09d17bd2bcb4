package detector

// Finding is a score of one sender, user or client with what led to it.
type Finding struct {
	// Score is 1 at the first alarm, in proportion to the evidence.
	Score float32
	// Names: it is about the sender names that a user or client uses, and not about
	// volume.
	Names bool
	// Mild: what follows from the score is to be an alert at most.
	Mild bool
	// Refusals is what the plain rule on refused recipients says, whatever the score.
	Refusals Share

	e        *entry
	user     string // it is of this user, for whom the sender that e is stands; else ""
	scale    *scale
	evidence [kinds]evidence
	sums     table
	floor    *table
	runs     *runs // nil: none
	spared   bool  // a regular run is due, and is not evidence
	// all are the windows with what is the fault of somebody narrower, which sums
	// leave out.
	all    table
	blamed *entry // the meter of that; nil: nothing
	// The plain rule judged so many recipients of the day, and refused ones of them.
	day, dayRefused float32
	// alarms: not volume, but the senders of a user or client that are under alarm.
	alarms bool
	// lasting: the lasting record says something.
	lasting bool
	// by is what gave the score, and lastingWindow the window where that is the
	// lasting record.
	by            source
	lastingWindow int
	// foreign: for a sender that others used before.
	foreign bool
}

// source is what gives a score.
type source uint8

const (
	byEvidence source = iota // all evidence together
	byNewcomer               // see Finding.newcomer
	byLasting                // see Finding.byLasting
)

// Who says whose score it is.
func (f *Finding) Who() Who {
	if f.user != "" {
		return PartyWho(f.user)
	}
	return f.e.who()
}

// Outside is the score without what was sent to known recipients in our own domains.
func (d *Detector) Outside(f *Finding) float32 { return f.outside(&d.tuning) }

// RefusedToo reports whether refused recipients, too few for the plain rule, go
// together with unusual volume.
func (d *Detector) RefusedToo(f *Finding) bool {
	from := d.settings.Refused.Excessive
	return from > 0 && f.sums[refused][day] >= 3 && float64(f.sums[refused][day]/f.sums[sent][day]) >= from
}

// Early reports whether the client is so new that the volume of f is to be no alarm
// unless it throttles: whoever begins to use a relay brings what he has always sent, and
// all of it looks new. That many are refused, and that a newcomer among known senders
// writes to strangers, says as much as ever.
func (d *Detector) Early(f *Finding) bool {
	if f.Names || f.by != byEvidence || f.floor != nil || f.e.scope == ofClient {
		return false
	}
	bad := f.sums[refused][day]
	return d.NewClient(f) && (bad == 0 || bad < earlyShare*f.sums[sent][day])
}

// NewClient reports whether the client of f is that new.
func (d *Detector) NewClient(f *Finding) bool { return d.isEarly(f.e) }

// findings are those of one event, the narrowest scope first.
type findings struct {
	found [7]Finding
	n     int
}

// next is the place of the next finding.
func (s *findings) next() *Finding {
	s.n++
	return &s.found[s.n-1]
}

// assess scores an entry as it is; blamed is the meter of what is others' fault.
func (d *Detector) assess(e *entry, blamed *meter, floor *table, s *scale) (f Finding) {
	e.turn(&d.tuning, s, d.byNum[e.client].born)
	f = d.finding(e, floor, s)
	e.sums(&f.all)
	f.sums = f.all.without(blamed)
	f.judge(&d.tuning, &f.sums)
	return f
}

// finding is one of e that is still to be judged.
func (d *Detector) finding(e *entry, floor *table, s *scale) Finding {
	return Finding{e: e, scale: s, floor: floor, runs: d.meters.runsOf(e), lasting: d.hasLasting(e, s)}
}

// like is one of the same, for other sums.
func (f *Finding) like() Finding {
	return Finding{e: f.e, user: f.user, scale: f.scale, floor: f.floor, runs: f.runs, lasting: f.lasting}
}

// without is a table without what a meter holds, which may be nil.
func (t table) without(m *meter) table {
	if m == nil {
		return t
	}
	var theirs table
	m.sums(&theirs)
	for k := range kinds {
		for w := range windows {
			t[k][w] = max(0, t[k][w]-theirs[k][w])
		}
	}
	return t
}

// judgeShare fills in what the plain rule says.
func (d *Detector) judgeShare(f *Finding, n, bad float32) {
	f.day, f.dayRefused = n, bad
	f.Refusals = d.settings.Refused.of(n, bad)
}

// outside is the score without what was sent to known recipients in our own
// domains.
func (f *Finding) outside(t *tuning) float32 {
	if f.runs == nil {
		return f.Score
	}
	other := f.like()
	sums := f.sums
	theirs := f.runs.insideSums(int64(f.e.last))
	for w := range windows {
		sums[sent][w] = max(0, sums[sent][w]-theirs[sent][w])
	}
	other.judge(t, &sums)
	return other.Score
}

// judge fills in evidence and score, for sums that need not be those of f.
func (f *Finding) judge(t *tuning, sums *table) {
	var spare *spared
	if f.runs != nil {
		spare = new(spared)
		f.runs.spare(uint16(int64(f.e.last)/daySeconds), sums, spare)
		f.spared = spare[sent][hour] || spare[sent][day]
	}
	f.e.judge(sums, f.floor, f.scale, spare, &f.evidence)
	f.Score, f.by = t.score(&f.e.meter, &f.evidence, f.scale), byEvidence
	if s := f.newcomer(t, sums); s > f.Score {
		f.Score, f.by = s, byNewcomer
	}
	s, w := f.byLasting(sums, spare)
	if s *= t.sensitivity; s > f.Score {
		f.Score, f.by, f.lastingWindow = s, byLasting, w
	}
}

// without scores anew as if the sender were not there.
func (f *Finding) without(t *tuning, sender *entry) {
	rest := f.sums.without(&sender.meter)
	f.judge(t, &rest)
}
