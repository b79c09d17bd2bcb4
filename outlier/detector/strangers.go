package detector

// Knows reports whether anybody of a client has written to the recipient before, as far
// as the sketch of known recipients knows: it forgets the oldest beyond
// Settings.MaxKnown, and takes one in 8,000 strangers for somebody known.
func (d *Detector) Knows(client string, recipient uint64) bool {
	c := d.clients[client]
	return c != nil && d.known.has(c.hash, recipient)
}

// OfStrangers reports whether recipients never seen before are a part of the score.
func (f *Finding) OfStrangers() bool { return f.by != byEvidence || f.evidence[fresh].value > 0 }

// ProjectStrangers scores who as if so many recipients more had been sent, none of whom
// its client knows. client is that of the mail.
func (d *Detector) ProjectStrangers(now int64, who Who, client string, more int, expect Expect) Finding {
	f := d.Project(now, who, client, more, expect)
	for i := range windows {
		f.sums[fresh][i] += float32(more)
	}
	f.judge(&d.tuning, &f.sums)
	return f
}
