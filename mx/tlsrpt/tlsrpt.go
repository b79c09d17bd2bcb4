// Package tlsrpt counts how TLS with receivers ends, and tells it to a collector that
// writes reports to the owners of domains (RFC 8460).
//
// It writes no reports itself. Where a domain asks for them, each session is a
// datagram to tlsrpt-collectd of sys4's tlsrpt-reporter, in the form that Postfix and
// others send it, too. No mail waits for that: what cannot be handed over at once is
// dropped and counted.
package tlsrpt

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// Kind is the policy that a session was held to.
type Kind string

// The kinds.
const (
	DANE Kind = "dane" // TLSA records
	STS  Kind = "sts"  // MTA-STS
	None Kind = "none" // the domain has neither
)

// Result is how TLS ended; "" is success.
type Result string

// Results of RFC 8460 s. 4.3.
const (
	Success      Result = ""
	NoSTARTTLS   Result = "starttls-not-supported"
	HostMismatch Result = "certificate-host-mismatch"
	NotTrusted   Result = "certificate-not-trusted"
	Expired      Result = "certificate-expired"
	Invalid      Result = "validation-failure" // of another kind
	BadDNSSEC    Result = "dnssec-invalid"     // DNS does not say which TLSA records there are
)

// Policy is what a session was held to.
type Policy struct {
	Kind   Kind
	Domain string   // whose it is: the recipients' domain, or with TLSA records that of the host
	Text   []string // its lines, or records
	Hosts  []string // the patterns of hosts that it names
}

// Session is one attempt to speak TLS with a host.
type Session struct {
	Domain string // of the recipients
	Policy Policy
	Result Result
	Source netip.Addr // ours; zero: not known
	Host   string     // its name; "": none was reached
	To     netip.Addr
	Reason string // of a failure, in words
}

// Options are what a Reporter is made of.
type Options struct {
	// Socket is that of the collector. Blank: sessions are counted only.
	Socket string
	// Resolver says which domains want reports.
	Resolver *resolve.Resolver
	// Log is told, once an hour, that the collector takes nothing. Nil: nobody is.
	Log *slog.Logger
}

// waiting is how many sessions wait to be handed over.
const waiting = 1000

// Reporter counts sessions and hands them over. It is safe for concurrent use.
type Reporter struct {
	o     Options
	queue chan Session
	stop  context.CancelFunc
	ended chan struct{}

	mu     sync.Mutex
	counts map[Count]uint64 // by Policy and Result
	sent   uint64
	lost   uint64
}

// Count is how many sessions ended in one way.
type Count struct {
	Policy   Kind   `json:"policy"`
	Result   string `json:"result"` // "success" or that of RFC 8460
	Sessions uint64 `json:"sessions"`
}

// New makes a Reporter; Close ends it.
func New(o Options) *Reporter {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Reporter{o: o, queue: make(chan Session, waiting), stop: stop, ended: make(chan struct{}), counts: map[Count]uint64{}}
	go r.run(ctx)
	return r
}

// Close drops what waits.
func (r *Reporter) Close() {
	r.stop()
	<-r.ended
}

// Note counts a session, and hands it over without waiting for that.
func (r *Reporter) Note(s Session) {
	k := Count{Policy: s.Policy.Kind, Result: string(s.Result)}
	if s.Result == Success {
		k.Result = "success"
	}
	dropped := false
	if r.o.Socket != "" {
		select {
		case r.queue <- s:
		default:
			dropped = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[k]++
	if dropped {
		r.lost++
	}
}

// Counts are the sessions since New, in order.
func (r *Reporter) Counts() (all []Count) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, n := range r.counts {
		c.Sessions = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Count) int {
		return strings.Compare(string(a.Policy)+" "+a.Result, string(b.Policy)+" "+b.Result)
	})
	return all
}

// Sent is how many sessions the collector was handed, and how many were dropped.
func (r *Reporter) Sent() (sent, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent, r.lost
}

// tellEvery is how often the log says that the collector takes nothing.
const tellEvery = time.Hour

// run hands sessions over, one after another.
func (r *Reporter) run(ctx context.Context) {
	defer close(r.ended)
	var to net.Conn
	var told time.Time
	defer func() {
		if to != nil {
			to.Close()
		}
	}()
	for {
		var s Session
		select {
		case s = <-r.queue:
		case <-ctx.Done():
			return
		}
		record := r.wanted(ctx, s.Domain)
		if record == "" {
			continue
		}
		err := send(&to, r.o.Socket, s.datagram(record))
		if err != nil && time.Since(told) > tellEvery {
			told = time.Now()
			r.o.Log.Warn("the collector of TLS reports takes nothing", "socket", r.o.Socket, "err", err)
		}
		r.mu.Lock()
		if err == nil {
			r.sent++
		} else {
			r.lost++
		}
		r.mu.Unlock()
	}
}

// wanted is the record by which a domain asks for reports; "" where it does not. More
// than one is as none (RFC 8460 s. 3).
func (r *Reporter) wanted(ctx context.Context, domain string) (record string) {
	a := r.o.Resolver.Ask(ctx, "_smtp._tls."+domain, dns.TypeTXT)
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
	return record
}

// patience is how long a full socket may stay full.
const patience = 100 * time.Millisecond

// send writes one datagram; a collector that has begun anew is found again.
func send(to *net.Conn, socket string, datagram []byte) (err error) {
	for range 2 {
		if *to == nil {
			if *to, err = net.Dial("unixgram", socket); err != nil {
				*to = nil
				return err
			}
		}
		(*to).SetWriteDeadline(time.Now().Add(patience))
		if _, err = (*to).Write(datagram); err == nil {
			return nil
		}
		(*to).Close()
		*to = nil
	}
	return err
}
