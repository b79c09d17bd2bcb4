package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

func (c *session) data() error {
	switch {
	case c.from == nil:
		return c.send("503 5.5.1 MAIL first")
	case c.body != nil:
		return c.send("503 5.5.1 BDAT is in progress")
	case len(c.to) == 0:
		return c.send("554 5.5.1 no valid recipients")
	}
	ok, err := c.answer(Data, "", "354 go ahead")
	if err != nil || !ok {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	m := c.message()
	if err := c.beforeBody(); err != nil {
		return err
	}
	if err := c.dotted(m); err != nil {
		return err
	}
	return c.finish(m)
}

func (c *session) beforeBody() error {
	f := c.s.fault(c.n, Body, "")
	c.pause(f)
	if f.Drop == DropNever {
		return nil
	}
	io.CopyN(io.Discard, c.r, f.Read)
	return c.drop(f)
}

func (c *session) message() *Message {
	return &Message{
		Conn: c.n, EHLO: c.ehlo, User: c.user, TLS: c.tls, From: *c.from, To: c.to,
		Remote: addrPort(c.raw.RemoteAddr()), Local: addrPort(c.raw.LocalAddr()),
	}
}

// dotted reads up to the line with the single dot. A line ends at LF; only a
// line that follows CR LF can be the dot or be stuffed, unless Lenient.
func (c *session) dotted(m *Message) error {
	start := true // the last octets were CR LF
	cr := false   // the last octet was CR
	for {
		c.conn.SetReadDeadline(time.Now().Add(c.s.opt.Idle))
		b, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if start && b[0] == '.' {
			if string(b) == ".\r\n" || c.s.opt.Lenient && string(b) == ".\n" {
				return nil
			}
			b = b[1:]
		}
		c.keep(m, b)
		lf := bytes.HasSuffix(b, []byte("\n"))
		start = lf && (len(b) == 1 && cr || bytes.HasSuffix(b, []byte("\r\n")) || c.s.opt.Lenient)
		cr = bytes.HasSuffix(b, []byte("\r"))
	}
}

func (c *session) keep(m *Message, b []byte) {
	m.Size += int64(len(b))
	if !c.s.opt.Discard {
		m.Data = append(m.Data, b...)
	}
}

func (c *session) bdat(arg string) error {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	isLast := strings.EqualFold(last, "LAST")
	if err != nil || n < 0 || last != "" && !isLast {
		c.send("501 5.5.4 syntax: BDAT size [LAST]")
		return errDrop // the octets cannot be told from commands
	}
	if !c.offers("CHUNKING") {
		c.send("502 5.5.1 no BDAT here")
		return errDrop
	}
	if err := c.beforeBody(); err != nil {
		return err
	}
	refuse := ""
	switch {
	case c.from == nil:
		refuse = "503 5.5.1 MAIL first"
	case len(c.to) == 0:
		refuse = "554 5.5.1 no valid recipients"
	}
	m := c.body
	if m == nil {
		m = &Message{}
		if refuse == "" {
			m = c.message()
			c.body = m
		}
	}
	if err := c.chunk(m, n, refuse != ""); err != nil {
		return err
	}
	switch {
	case refuse != "":
		return c.send(refuse)
	case isLast:
		return c.finish(m)
	}
	return c.reply(Chunk, "", "250 2.0.0 "+size+" octets")
}

func (c *session) chunk(m *Message, n int64, discard bool) error {
	m.Chunks++
	for n > 0 {
		c.conn.SetReadDeadline(time.Now().Add(c.s.opt.Idle))
		b, err := c.r.Peek(int(min(n, int64(max(1, c.r.Buffered())))))
		if err != nil {
			return err
		}
		if !discard {
			c.keep(m, b)
		}
		c.r.Discard(len(b))
		n -= int64(len(b))
	}
	return nil
}

// finish takes the message when the final reply is positive, even where that
// reply is then held back.
func (c *session) finish(m *Message) error {
	c.reset()
	usual := "250 2.0.0 taken as " + strconv.Itoa(c.n) + "." + strconv.Itoa(c.count+1)
	if limit, ok := offers(c.offered(), "SIZE"); ok {
		if n, _ := strconv.ParseInt(limit, 10, 64); n > 0 && m.Size > n {
			usual = "552 5.3.4 too big"
		}
	}
	f := c.strike(Dot, "", m)
	text := usual
	if f.Reply != "" {
		text = f.Reply
	}
	if text[0] == '2' {
		c.count++
		m.N = c.count
		m.Replied = f.Drop != DropBefore && f.Drop != DropMid
		c.s.take(m)
	}
	_, err := c.misbehave(f, usual)
	return err
}
