package detector

// The table of known recipients may be younger than what is known of clients: its size
// was changed, or a node has come to others whose table it cannot read. Everybody is a
// stranger then, as in the first days of a client. So no client counts as seen before the
// table began.

// KnownFrom says that the table of known recipients begins now.
func (d *Detector) KnownFrom(now int64) { d.SetKnownSince(uint16(now / daySeconds)) }

// KnownSince is the day since which the table is kept, counted from 1970; 0: for as long
// as the clients are known.
func (d *Detector) KnownSince() uint16 { return d.knownSince }

// SetKnownSince sets the day of KnownSince.
func (d *Detector) SetKnownSince(day uint16) {
	d.knownSince = day
	for _, c := range d.byNum {
		c.born = max(c.born, day)
	}
}
