// Package tlsrpt counts how TLS with receivers ends, and tells it to a collector that
// writes reports to the owners of domains (RFC 8460).
//
// It writes no reports itself. Where a domain asks for them, each session is a
// datagram to tlsrpt-collectd of sys4's tlsrpt-reporter, in the form that Postfix and
// others send it, too. No mail waits for that: what cannot be handed over at once is
// dropped and counted.
package tlsrpt

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"postern/internal/resolve"
)

// Kind is the policy that a session had to meet.
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

	FetchError Result = "sts-policy-fetch-error"
	BadPolicy  Result = "sts-policy-invalid"
	BadHost    Result = "sts-webpki-invalid" // certificate of the policy host
	NoUsable   Result = "tlsa-invalid"       // none of the TLSA records can be used
	BadDNSSEC  Result = "dnssec-invalid"     // DNS does not say which TLSA records there are
	// dane-required is for senders that want TLSA records of a domain; none can here.
)

// Policy is the policy that a session had to meet.
type Policy struct {
	Kind   Kind
	Domain string   // whose it is: the recipients' domain, or with TLSA records that of the host
	Text   []string // its lines, or records; a report has the first 8 KiB
	Hosts  []string // the patterns of hosts that it names; the same
}

// Session is one attempt to speak TLS with a host.
type Session struct {
	Domain string // of the recipients
	Policy Policy
	Result Result
	Source netip.Addr // ours; zero: not known
	Host   string     // its name; "": none was reached
	To     netip.Addr
	Reason string // of a failure, in words; a report has 200 octets
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

// Reporter counts sessions and hands them over. It is safe for concurrent use.
type Reporter struct {
	o    Options
	desk *desk // nil: there is no collector

	mu     sync.Mutex
	counts map[Count]uint64 // by Policy and Result
}

// Count is how many sessions ended in one way.
type Count struct {
	Policy   Kind   `json:"policy"`
	Result   string `json:"result"` // "success" or that of RFC 8460
	Sessions uint64 `json:"sessions"`
}

// New makes a Reporter; Close ends it.
func New(o Options) *Reporter {
	r := &Reporter{o: o, counts: map[Count]uint64{}}
	if o.Socket != "" {
		r.desk = newDesk(o)
	}
	return r
}

// Close ends r and drops the sessions that have not been handed over.
func (r *Reporter) Close() {
	if r.desk != nil {
		r.desk.close()
	}
}

// Note counts a session, and has it handed over without waiting for that.
func (r *Reporter) Note(s Session) {
	k := Count{Policy: s.Policy.Kind, Result: string(s.Result)}
	if s.Result == Success {
		k.Result = "success"
	}
	r.mu.Lock()
	r.counts[k]++
	r.mu.Unlock()
	if r.desk != nil {
		s.shorten()
		r.desk.note(s)
	}
}

// Counts returns the numbers of sessions since New, in order of policy and result.
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

// Sent returns how many sessions were handed to the collector, and how many were dropped.
func (r *Reporter) Sent() (sent, lost uint64) {
	if r.desk == nil {
		return 0, 0
	}
	return r.desk.totals()
}
