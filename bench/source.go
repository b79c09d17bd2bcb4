package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// plan is what the source does.
type plan struct {
	conns      int
	recipients int
	domains    int              // of recipients, in turn, see receivers; 0: receiver.example
	lmtp       bool             // a verdict for each recipient
	senders    int              // different reverse-paths, in turn; 0: one per connection
	redial     bool             // each mail over a connection of its own
	perConn    int              // mails over one connection, then a new one; 0: 900, as the relay ends a session behind 1,000
	tls        *tls.Config      // non-nil: TLS from the first octet
	messages   []message        // one of them at a time, by pick
	pick       func(n int) int  // index in messages of the nth mail; nil: the first
	refuse     func(n int) bool // the nth mail goes to a mailbox that does not exist; nil: none
	every      time.Duration    // pace of one connection; 0: as fast as it goes
	onMessage  func(d time.Duration)
}

// load is what came of a plan.
type load struct {
	messages  int
	refused   int
	elapsed   time.Duration
	latencies []time.Duration // sorted, from MAIL, or the connection with redial, to the final reply
}

func (l *load) rate() float64 { return float64(l.messages+l.refused) / l.elapsed.Seconds() }

// quantile is that of the latencies; 0 where there are none.
func (l *load) quantile(q float64) time.Duration { return quantile(l.latencies, q) }

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// run sends mail to addr for d, or until each connection has sent limit mails if
// limit is positive. Connecting is not counted unless the plan redials.
func (p *plan) run(ctx context.Context, addr string, d time.Duration, limit int) (load, error) {
	var (
		l       load
		mu      sync.Mutex
		failed  error
		ready   sync.WaitGroup
		done    sync.WaitGroup
		start   = make(chan struct{})
		clients = make([]*client, p.conns)
	)
	for i := range clients {
		c := &client{plan: p, addr: addr, n: i, limit: limit}
		clients[i] = c
		ready.Add(1)
		done.Go(func() {
			err := c.dial()
			ready.Done()
			<-start
			for err == nil && ctx.Err() == nil && c.more(time.Now()) {
				err = c.send()
			}
			c.ended = time.Now()
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
			c.hangUp()
		})
	}
	ready.Wait()
	began := time.Now()
	for _, c := range clients {
		c.deadline = began.Add(d)
	}
	close(start)
	done.Wait()
	for _, c := range clients {
		l.messages += c.sent
		l.refused += c.refused
		l.latencies = append(l.latencies, c.latencies...)
		l.elapsed = max(l.elapsed, c.ended.Sub(began))
	}
	slices.Sort(l.latencies)
	return l, failed
}

// client is one connection of the source.
type client struct {
	*stream
	plan      *plan
	addr      string
	n         int // its number
	limit     int
	deadline  time.Time
	ended     time.Time
	count     int // mails begun
	sent      int
	refused   int
	latencies []time.Duration
}

// more reports whether there is another mail to send; the first one always is.
func (c *client) more(now time.Time) bool {
	return c.count == 0 || now.Before(c.deadline) && (c.limit == 0 || c.count < c.limit)
}

// dial connects and says EHLO.
func (c *client) dial() error {
	conn, err := net.DialTimeout("tcp", c.addr, 10*time.Second)
	if err != nil {
		return err
	}
	if c.plan.tls != nil {
		conn = tls.Client(conn, c.plan.tls)
	}
	if c.stream == nil {
		c.stream = newStream(conn, 4<<10)
	} else {
		c.Conn, c.r, c.w = conn, 0, 0
	}
	if err := c.expect(220); err != nil {
		return err
	}
	hello := "EHLO"
	if c.plan.lmtp {
		hello = "LHLO"
	}
	c.out = append(c.out, hello+" client.example.org\r\n"...)
	return c.expect(250)
}

func (c *client) hangUp() {
	if c.stream != nil {
		c.Conn.Write([]byte("QUIT\r\n"))
		c.Conn.Close()
	}
}

func (c *client) expect(code int) error {
	got, line, err := c.reply()
	if err == nil && got != code {
		err = fmt.Errorf("reply %q, expected %d", line, code)
	}
	return err
}

// send is one transaction, with a connection of its own if the plan redials.
func (c *client) send() error {
	began := time.Now()
	if c.count > 0 && (c.plan.redial || c.count%cmp.Or(c.plan.perConn, 900) == 0) {
		c.hangUp()
		if err := c.dial(); err != nil {
			return err
		}
	}
	number := c.count*c.plan.conns + c.n
	c.count++
	took, err := c.transaction(number)
	if err != nil {
		return fmt.Errorf("mail %d: %w", number, err)
	}
	if !took {
		c.refused++
		return nil
	}
	c.sent++
	d := time.Since(began)
	c.latencies = append(c.latencies, d)
	if c.plan.onMessage != nil {
		c.plan.onMessage(d)
	}
	if rest := c.plan.every - d; rest > 0 {
		time.Sleep(rest)
	}
	return nil
}

func (c *client) transaction(number int) (took bool, err error) {
	p := c.plan
	m := &p.messages[0]
	if p.pick != nil {
		m = &p.messages[p.pick(number)]
	}
	refuse := p.refuse != nil && p.refuse(number)
	c.envelope(number, len(m.plain), refuse)
	if err := c.expect(250); err != nil {
		return false, err
	}
	for range max(1, p.recipients) {
		if refuse {
			if err := c.expect(550); err != nil {
				return false, err
			}
			continue
		}
		if err := c.expect(250); err != nil {
			return false, err
		}
	}
	if refuse {
		code, line, err := c.reply()
		if err == nil && code < 500 {
			err = fmt.Errorf("reply to DATA without recipients %q", line)
		}
		return false, err
	}
	if err := c.expect(354); err != nil {
		return false, err
	}
	if _, err := c.Write(m.wire); err != nil {
		return false, err
	}
	for range max(1, p.recipients) - 1 {
		if !p.lmtp {
			break
		}
		if err := c.expect(250); err != nil {
			return false, err
		}
	}
	return true, c.expect(250)
}

// envelope writes MAIL, RCPT and DATA in one group, as MTAs do.
func (c *client) envelope(number, size int, refuse bool) {
	sender := c.n
	if c.plan.senders > 0 {
		sender = number % c.plan.senders
	}
	o := append(c.out, "MAIL FROM:<s"...)
	o = strconv.AppendInt(o, int64(sender), 10)
	o = append(o, "@"+domain+"> SIZE="...)
	o = strconv.AppendInt(o, int64(size), 10)
	o = append(o, "\r\n"...)
	for i := range max(1, c.plan.recipients) {
		o = append(o, "RCPT TO:<"...)
		if refuse {
			o = append(o, "refused"...)
		}
		o = append(o, 'r')
		o = strconv.AppendInt(o, int64(i), 10)
		o = append(o, '@')
		if n := c.plan.domains; n > 0 {
			o = append(o, domainOf((number*max(1, c.plan.recipients)+i)%n)...)
		} else {
			o = append(o, "receiver.example"...)
		}
		o = append(o, ">\r\n"...)
	}
	c.out = append(o, "DATA\r\n"...)
}
