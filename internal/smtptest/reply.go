package smtptest

import (
	"net"
	"strings"
	"time"
)

// send writes a usual reply.
func (c *session) send(text string) error {
	_, err := c.w.WriteString(crlf(text))
	return err
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") + "\r\n" }

// reply is answer for commands that change nothing.
func (c *session) reply(stage Stage, to, usual string) error {
	_, err := c.answer(stage, to, usual)
	return err
}

// answer sends the reply to a command, as a fault has it. ok: the command is
// to be carried out. The error ends the session.
func (c *session) answer(stage Stage, to, usual string) (ok bool, err error) {
	return c.misbehave(c.strike(stage, to, nil), usual)
}

// strike is what goes wrong at a step, or otherwise than usual.
func (c *session) strike(stage Stage, to string, m *Message) Fault {
	f := c.s.fault(c.n, stage, to)
	if f.Stage != "" || c.s.opt.Judge == nil {
		return f
	}
	step := Step{Stage: stage, EHLO: c.ehlo, User: c.user, Address: to, To: len(c.to), Taken: c.count, Message: m}
	if text := c.s.opt.Judge(step); text != "" {
		return Fault{Stage: stage, Reply: text}
	}
	return Fault{}
}

func (c *session) misbehave(f Fault, usual string) (ok bool, err error) {
	if f.Stage == "" {
		return true, c.send(usual)
	}
	c.pause(f)
	text := usual
	if f.Reply != "" {
		text = f.Reply
	}
	wire := crlf(text)
	if f.Raw != "" {
		wire = f.Raw
	}
	ok = text[0] < '4'
	switch f.Drop {
	case DropBefore:
		return ok, c.drop(f)
	case DropMid:
		c.w.WriteString(wire[:len(wire)/2])
		return ok, c.drop(f)
	}
	if err := c.segments(wire, f.Split); err != nil {
		return ok, err
	}
	if f.Drop == DropAfter || strings.HasPrefix(text, "421") {
		return ok, c.drop(f)
	}
	return ok, nil
}

// pause sends what is pending, then waits as the fault says.
func (c *session) pause(f Fault) {
	if f.Gate == nil && f.Delay == 0 {
		return
	}
	c.w.Flush()
	if f.Gate != nil {
		f.Gate.wait(c.s.done)
	}
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.s.done:
		}
	}
}

// segments writes wire, in pieces of n octets that are segments of their own.
func (c *session) segments(wire string, n int) error {
	if n <= 0 {
		_, err := c.w.WriteString(wire)
		return err
	}
	for len(wire) > 0 {
		piece := wire[:min(n, len(wire))]
		wire = wire[len(piece):]
		if _, err := c.w.WriteString(piece); err != nil {
			return err
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *session) drop(f Fault) error {
	c.w.Flush()
	if t, ok := c.raw.(*net.TCPConn); ok && f.RST {
		t.SetLinger(0)
	}
	c.raw.Close()
	return errDrop
}
