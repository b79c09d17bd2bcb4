package smtpd

import (
	"time"

	"postern/mail"
)

// Message is a message on its way in. The engine sees to its lines and its end;
// what they mean is for Take.
type Message struct {
	// Take gets the octets as they come, in whole runs: each line ends in CR LF,
	// there is no other CR or LF and no NUL, and the dots of transparency are
	// gone. Runs are valid during the call only. Transaction.Data sets it.
	Take func(run []byte)
	// Refusal says why the message is not taken, set by the engine or by Refuse; nil where
	// it is taken. Once it is set, nothing more goes to Take.
	Refusal *mail.Reply
	// Fault is set by Take where it met a fault; no further chunks are asked for then.
	Fault error
	// Chunked: the message comes by BDAT (RFC 3030).
	Chunked bool

	lines lineScanner
	pace  pace
}

func newMessage(cfg *Settings, grace time.Duration, dots bool, now time.Time) *Message {
	c := &cfg.Message
	m := &Message{Chunked: !dots}
	m.lines = lineScanner{m: m, dots: dots, normalize: c.Newlines == NewlinesNormalize, maxLine: c.MaxLine}
	m.pace = pace{began: now, grace: grace, timeout: cfg.Timeouts.Data, rate: c.MinRate}
	return m
}

// Refuse notes why the message is not taken, unless there is a reason already.
// Its end is still looked for, so that the client can be answered in step.
func (m *Message) Refuse(r *mail.Reply) {
	if m.Refusal == nil {
		m.Refusal = r
	}
}

// Mended reports whether a bare LF was made CR LF.
func (m *Message) Mended() bool { return m.lines.mended }

// LongLines counts the lines over syntax.MaxLine that have come, without the dot
// of transparency, also those of the header.
func (m *Message) LongLines() int { return m.lines.long }

// pace tells how long the next read of a message may take.
type pace struct {
	began   time.Time
	octets  int64
	timeout time.Duration // of one read
	grace   time.Duration
	rate    int64 // least octets a second after the grace; 0: none
}

// next is the deadline of the next read.
func (p *pace) next(now time.Time) time.Time {
	deadline := now.Add(p.timeout)
	if slow := p.slowest(); !slow.IsZero() && slow.Before(deadline) {
		return slow
	}
	return deadline
}

// slowest is when the octets so far are too few for the time they took.
func (p *pace) slowest() time.Time {
	if p.rate <= 0 {
		return time.Time{}
	}
	return p.began.Add(p.grace + time.Duration(float64(p.octets)/float64(p.rate)*float64(time.Second)))
}

func (p *pace) tooSlow() bool {
	slow := p.slowest()
	return !slow.IsZero() && !time.Now().Before(slow)
}
