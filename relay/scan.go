package relay

import (
	"time"

	"postern/mail"
	"postern/relay/replies"
	"postern/scan"
)

// scannersUp says at MAIL that a scanner is down without which the message could
// not leave, before its octets are sent.
func (t *transaction) scannersUp() (rule string, r *mail.Reply) {
	name := t.snap.Scanners.Missing(t.client.Name(), t.client.Stream())
	if name == "" {
		return "", nil
	}
	t.ev.Err = "scanner " + name + " is down"
	return "scanner " + name, replies.CannotScan()
}

// scan looks at attachments and links, shows the scanners what will leave, but for
// trace and signature, and then asks the gate again, for that may have taken long.
// Nil: the message goes on.
func (t *transaction) scan() *mail.Reply {
	t.clock(&t.ev.Took.Scan)
	switch rule, r, err := t.look(); {
	case err != nil:
		return t.unread(err)
	case r != nil:
		return t.failed(mail.StageScan, rule, r)
	}
	set := t.snap.Scanners
	if !set.Wanted(t.client.Name(), t.client.Stream()) {
		set = nil
	}
	if set == nil && !t.linksCount() {
		return nil
	}
	if err := t.judgeScans(set); err != nil {
		return t.unread(err)
	}
	if t.scanned != nil && t.scanned.Decided != nil {
		return t.refuseScanned(t.scanned.Decided)
	}
	if rule, r := t.judgeLinks(); r != nil {
		return t.failed(mail.StageScan, rule, r)
	}
	t.unclock()
	if rule, r := t.gate(); r != nil {
		return t.gated(rule, r)
	}
	return nil
}

// unread ends a message that could not be read from its temporary file.
func (t *transaction) unread(err error) *mail.Reply {
	t.srv.fault("spool", err, "id", t.ev.ID)
	t.ev.Err = err.Error()
	return t.faulted(mail.StageScan, "spool", replies.Storage())
}

// content is the message as it will leave, but for trace and signature.
func (t *transaction) content() scan.Content {
	c := scan.Content{Head: t.appendHeader(nil), Chunks: t.in.body.chunks}
	if f := t.in.body.file; f != nil {
		c.File, c.FileSize = f, t.in.body.fileSize
	}
	return c
}

// judgeScans asks the scanners, nil for none, and waits for the lists of links where
// they count. Meanwhile the upstream connection is given back as for a client that
// dawdles.
func (t *transaction) judgeScans(set *scan.Set) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if set != nil {
			t.scanned, err = set.Judge(t.conn.Context(), t.shown())
		}
		if t.linksCount() {
			t.links.Wait()
		}
	}()
	t.hold.since = time.Time{}
	look := time.NewTimer(yieldAfter)
	defer look.Stop()
	for {
		select {
		case <-done:
			return err
		case now := <-look.C:
			if again := t.Idle(now); !again.IsZero() {
				look.Reset(time.Until(again))
			}
		}
	}
}

// shown is the message as scanners see it.
func (t *transaction) shown() *scan.Message {
	m := &scan.Message{
		ID: t.ev.ID, Client: t.client.Name(), Stream: t.client.Stream(), User: t.peer.User, IP: t.peer.Addr.Addr(),
		Helo: t.peer.Helo, Hostname: t.snap.Hostname,
		Content: t.content(),
	}
	if !t.env.From.IsNull() {
		m.From = t.env.From.Key()
	}
	for i := range t.env.To {
		m.To = append(m.To, t.env.To[i].Key())
	}
	return m
}

func (t *transaction) refuseScanned(v *scan.Response) *mail.Reply {
	rule := "scanner " + v.Scanner
	if v.Err != nil {
		t.ev.Err = rule + ": " + v.Err.Error()
		t.srv.fault(rule, v.Err, "id", t.ev.ID)
		return t.faulted(mail.StageScan, rule, ScanReply(v))
	}
	return t.failed(mail.StageScan, rule, ScanReply(v))
}

// ScanReply is what the client hears of a verdict that ends its message.
func ScanReply(v *scan.Response) *mail.Reply {
	switch {
	case v.Hopeless:
		return replies.Hopeless()
	case v.Class == scan.Fault:
		return replies.CannotScan()
	case v.Class == scan.TooLarge:
		return replies.ScanTooLarge()
	case v.Class == scan.Encrypted:
		return replies.Encrypted()
	case v.Class == scan.Macros:
		return replies.Macros()
	case v.Class == scan.Unscannable:
		return replies.Unscannable()
	}
	r := replies.Scanned(v.Scanner, v.Text)
	if v.Choice == scan.Defer {
		r = replies.ScannedLater(v.Scanner, v.Text)
	}
	if v.Code/100 == r.Code/100 {
		r.Code, r.Status = v.Code, v.Status
	}
	return r
}

// appendScanned appends the fields that milters add.
func (t *transaction) appendScanned(b []byte) []byte {
	if t.scanned == nil {
		return b
	}
	for _, f := range t.scanned.Fields {
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	return b
}

// endScan ends what is still looking at the message, and notes the verdicts.
func (t *transaction) endScan() {
	if t.scanned == nil {
		return
	}
	t.scanned.Finish()
	for i := range t.scanned.Verdicts {
		t.ev.Scans = append(t.ev.Scans, t.scanned.Verdicts[i].Event())
	}
}
