package detector

import (
	"time"

	"postern/outlier/detector/sketch"
)

// Past gathers whom clients wrote to before they were watched, in as much memory as the
// table of known recipients. It is apart from the detector, until TakePast.
type Past struct {
	// Pairs: for each sender of a client, too.
	Pairs bool

	seed sketch.Seed
	all  *sketch.Sketch
}

// NewPast makes one without anybody.
func (d *Detector) NewPast() *Past {
	return &Past{Pairs: d.settings.Pairs, seed: d.seed, all: sketch.New(8 * d.known.Size())}
}

// Add notes that an upstream took mail of a sender of a client for a recipient. Those
// noted last stay when there is no more room. "" is the null reverse-path.
func (p *Past) Add(client, sender, recipient string) {
	key, rcpt := p.seed.Hash(client), p.seed.Hash(recipient)
	p.all.Add(key, rcpt)
	if p.Pairs {
		p.all.Add(pairKey(key, p.seed.Hash(sender)), rcpt)
	}
}

// Forgotten is how many found no room in the past itself.
func (p *Past) Forgotten() int { return int(p.all.Forgotten()) }

// TakePast makes those of a part of the past known, 0 to Known().Chunks() - 1, the
// latest first and as far as there is room: nobody whom the detector knows has to go.
// It says how many there are, and how many found no room. ok is false where the detector
// has another table than when the past was begun.
func (d *Detector) TakePast(p *Past, chunk int) (n, without int, ok bool) {
	if d.seed != p.seed || d.known.Size() != p.all.Size() {
		return 0, 0, false
	}
	n, without = d.known.Take(p.all, chunk)
	return n, without, true
}

// pastKey is the key under which the table says itself that the past of a client is in
// it: where the table is lost or begun anew, that is lost with it.
const pastKey = 0x6A09E667F3BCC908

// MarkPast says that the past of a client since a time is among those known; zero: that
// nothing was found of it. pairs says whether those whom its senders know are, too.
func (d *Detector) MarkPast(client string, since time.Time, pairs bool) {
	d.known.Add(d.seed.Hash(client)^pastKey, pastMark(since, pairs))
}

// HasPast reports whether MarkPast has said so, and the table still holds it.
func (d *Detector) HasPast(client string, since time.Time, pairs bool) bool {
	return d.known.Has(d.seed.Hash(client)^pastKey, pastMark(since, pairs))
}

func pastMark(since time.Time, pairs bool) uint64 {
	mark := uint64(since.Unix()) << 1
	if pairs {
		mark |= 1
	}
	return mark
}

// Pairs reports whether it is remembered whom senders know.
func (d *Detector) Pairs() bool { return d.settings.Pairs }
