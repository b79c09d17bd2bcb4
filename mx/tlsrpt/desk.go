package tlsrpt

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// Bounds of what waits, and of who makes it wait: anybody who owns a domain decides how
// long DNS takes for it.
const (
	// maxDomains is of how many domains sessions wait until DNS has said whether they
	// want reports.
	maxDomains = 1000
	// perDomain is how many sessions of one of them wait.
	perDomain = 100
	// waiting is how many wait at all: for DNS, or for the collector.
	waiting = 2000
	// askers is for how many domains DNS is asked at the same time, askTime how long.
	askers  = 16
	askTime = 2 * time.Second
)

// desk finds out who wants reports, and hands sessions to the collector. Those of domains
// of which that is known wait for nobody else.
type desk struct {
	o       Options
	ctx     context.Context
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	unknown chan string        // domains to ask about
	ready   chan wantedSession // for the collector

	mu         sync.Mutex
	open       map[string][]Session // by domain, while DNS is asked
	held       int                  // sessions in open
	sent, lost uint64
}

// wantedSession is one of a domain that asks for reports.
type wantedSession struct {
	Session
	record string
}

func newDesk(o Options) *desk {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &desk{o: o, unknown: make(chan string, maxDomains), ready: make(chan wantedSession, waiting), open: map[string][]Session{}}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.tasks.Go(d.deliver)
	for range askers {
		d.tasks.Go(d.ask)
	}
	return d
}

// close drops what waits.
func (d *desk) close() {
	d.stop()
	d.tasks.Wait()
}

// note takes a session, or drops it where too many wait.
func (d *desk) note(s Session) {
	if d.o.Resolver.Knows(question(s.Domain), dns.TypeTXT) {
		d.pass(s, d.wanted(d.ctx, s.Domain))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, asked := d.open[s.Domain]
	if len(all) >= perDomain || d.held >= waiting {
		d.lost++
		return
	}
	if !asked {
		select {
		case d.unknown <- s.Domain:
		default:
			d.lost++
			return
		}
	}
	d.open[s.Domain] = append(all, s)
	d.held++
}

// ask asks for one domain after another.
func (d *desk) ask() {
	for {
		var domain string
		select {
		case domain = <-d.unknown:
		case <-d.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(d.ctx, askTime)
		record := d.wanted(ctx, domain)
		cancel()
		d.mu.Lock()
		all := d.open[domain]
		delete(d.open, domain)
		d.held -= len(all)
		d.mu.Unlock()
		for _, s := range all {
			d.pass(s, record)
		}
	}
}

// pass puts a session before the collector, where the domain asks for that.
func (d *desk) pass(s Session, record string) {
	if record == "" {
		return
	}
	select {
	case d.ready <- wantedSession{s, record}:
	default:
		d.count(false)
	}
}

func (d *desk) count(sent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sent {
		d.sent++
	} else {
		d.lost++
	}
}

func (d *desk) totals() (sent, lost uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent, d.lost
}

func question(domain string) string { return "_smtp._tls." + domain }

// wanted is the record by which a domain asks for reports; "" where it does not. More
// than one is as none (RFC 8460 s. 3), and so is one that does not fit.
func (d *desk) wanted(ctx context.Context, domain string) (record string) {
	a := d.o.Resolver.Ask(ctx, question(domain), dns.TypeTXT)
	for _, text := range resolve.Texts(a.RRs) {
		version, _, _ := strings.Cut(text, ";")
		if strings.TrimRight(version, " \t") != "v=TLSRPTv1" {
			continue
		}
		if record != "" {
			return ""
		}
		record = text
	}
	if !fits(record) {
		return ""
	}
	return record
}

// fits reports whether the collector may have a record. Whoever owns the domain writes
// where reports go, anybody's mailbox included, so that there must not be many; and there
// are no characters in it (RFC 8460 s. 3) that could end the line of a header.
func fits(record string) bool {
	other := func(c rune) bool { return (c < ' ' && c != '\t') || c > '~' }
	return len(record) <= maxRecord && strings.Count(record, ",") < maxReceivers && !strings.ContainsFunc(record, other)
}

const (
	// tellEvery is how often the log says that the collector takes nothing.
	tellEvery = time.Hour
	// patience is how long a full socket may stay full.
	patience = 100 * time.Millisecond
)

// deliver hands sessions over, one after another.
func (d *desk) deliver() {
	var to net.Conn
	var told time.Time
	defer func() {
		if to != nil {
			to.Close()
		}
	}()
	for {
		var g wantedSession
		select {
		case g = <-d.ready:
		case <-d.ctx.Done():
			return
		}
		err := send(&to, d.o.Socket, g.datagram(g.record))
		d.count(err == nil)
		if err != nil && time.Since(told) > tellEvery {
			told = time.Now()
			d.o.Log.Warn("the collector of TLS reports takes nothing", "socket", d.o.Socket, "err", err)
		}
	}
}

// send writes one datagram; a collector that has begun anew is found again.
func send(to *net.Conn, socket string, text []byte) (err error) {
	for range 2 {
		if *to == nil {
			if *to, err = net.Dial("unixgram", socket); err != nil {
				*to = nil
				return err
			}
		}
		(*to).SetWriteDeadline(time.Now().Add(patience))
		if _, err = (*to).Write(text); err == nil {
			return nil
		}
		(*to).Close()
		*to = nil
	}
	return err
}
