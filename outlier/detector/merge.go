package detector

import (
	"errors"
	"strconv"
	"strings"

	"postern/outlier/detector/compact"
)

// Meter is what one node stores for the others about somebody.
type Meter struct {
	Key   string // tells it from the others
	Value []byte
	// Regular: it has regular mail, which may come again after RegularDays.
	Regular bool
}

// RegularDays is for how many days a regular run is remembered that does not come
// again.
const RegularDays = keepDays

// Touch has the meters of a finding given out by Touched.
func (d *Detector) Touch(f *Finding) {
	for _, e := range [...]*entry{f.e, f.blamed} {
		if e != nil {
			d.changed[e] = e.name
		}
	}
}

// Touched gives the meters that Touch has marked since the last call, as they are now.
func (d *Detector) Touched() []Meter {
	all := make([]Meter, 0, len(d.changed))
	for e, name := range d.changed {
		if !e.used || e.name != name {
			continue // its place has been given to another
		}
		all = append(all, d.told(e))
		if e.has(isSolo) {
			user, _ := SplitNames(e.name)
			all = append(all, d.told(e.asUser(user)))
		}
	}
	clear(d.changed)
	return all
}

// told is an entry as it is given to other nodes.
func (d *Detector) told(e *entry) Meter {
	var b compact.Writer
	b.Str(d.byNum[e.client].name)
	e.encode(&b)
	rs := d.meters.runsOf(e)
	e.encodeTail(&b, rs)
	b.U16(d.lastingSince)
	e.lasting.encode(&b)
	return Meter{Key: strconv.Itoa(int(e.scope)) + ":" + e.name, Value: b, Regular: rs != nil}
}

// Merge takes a meter of another node, which counted what this one has not seen, under
// the name that fold gives: of two the one that counted last holds, with the higher of
// both records. An error says that it is damaged; nothing has changed then.
func (d *Detector) Merge(now int64, key string, value []byte, fold Fold) error {
	number, name, _ := strings.Cut(key, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= int(scopes) || name == "" {
		return errors.New("key of a meter is damaged")
	}
	sc := scope(n)
	client, m, rs, since, err := decodeShared(value)
	if err != nil {
		return err
	}
	if since > 0 && (d.lastingSince == 0 || since < d.lastingSince) {
		d.lastingSince = since
	}
	m.last = uint32(min(int64(m.last), now))
	own := fold(Who{sc.whose(), name})
	parted := d.partOf(sc, own)
	e, isNew := d.meters.get(sc, own, d.client(client, int64(m.born)*daySeconds).num, int64(m.last))
	rs = later(rs, d.meters.runsOf(e))
	switch {
	case isNew:
	case own != name:
		m.join(e.meter)
	default:
		m.mergeRecords(&e.meter)
		if e.last > m.last {
			m, e.meter = e.meter, m
			m.mergeRecords(&e.meter)
		}
	}
	e.meter = m
	d.meters.setRuns(e, rs)
	if c := d.byNum[e.client]; sc == ofClient {
		c.born = max(min(c.born, m.born), d.knownSince)
	}
	d.joined(e, parted)
	return nil
}

// decodeShared reads a meter of another node, its runs, and the day since when it has a
// lasting record; 0: it has none.
func decodeShared(value []byte) (client string, m meter, rs *runs, since uint16, err error) {
	r := &compact.Reader{Rest: value}
	client = r.Str()
	m.decode(r)
	if len(r.Rest) > 0 { // what earlier releases stored ends here
		rs = m.decodeTail(r)
	} else {
		m.put(isOld, true)
	}
	if len(r.Rest) > 0 {
		since = r.U16()
		m.lasting.decode(r)
	}
	if r.Bad || client == "" {
		err = compact.ErrCut
	}
	return client, m, rs, since, err
}

// joined has the sender of a user stand for it again, or from now on, where a meter that was
// merged has made both the same. parted is the one that has stood for it; nil: none.
func (d *Detector) joined(e, parted *entry) {
	if e.scope == ofUserSender {
		parted = e
	}
	if parted == nil {
		return
	}
	user, _ := SplitNames(parted.name)
	if u := d.meters.find(ofUser, user); u != nil && !u.has(isSolo) {
		d.fold(parted, u)
	}
}

// join makes one meter of two that were kept for two spellings of one sender or
// user: the larger count, with the higher of both records.
func (m *meter) join(o meter) {
	last := int64(max(m.last, o.last))
	m.roll(last)
	o.roll(last)
	if o.recent() > m.recent() {
		*m, o = o, *m
	}
	m.mergeRecords(&o)
	m.away, m.messages = max(m.away, o.away), max(m.messages, o.messages)
}

func (m *meter) mergeRecords(o *meter) {
	for k := range kinds {
		for w := range windows {
			m.record[k][w] = max(m.record[k][w], o.record[k][w])
		}
	}
	m.lasting.raise(&o.lasting)
	m.born = min(m.born, o.born)
}

// later is the one of two that was added to last; nil is none.
func later(a, b *runs) *runs {
	if a == nil || b != nil && b.last > a.last {
		return b
	}
	return a
}
