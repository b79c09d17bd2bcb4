// Package smtptest is an SMTP server for tests: it takes mail as a careful
// upstream does, keeps what it got octet by octet, and misbehaves on request.
package smtptest

import (
	"crypto/tls"
	"strings"
	"sync"
	"time"
)

// Stage names the moment of a session at which a Fault strikes. For all but
// Handshake and Body that is the reply to the command of that name.
type Stage string

// The stages of a session.
const (
	Greeting  Stage = "greeting"
	Hello     Stage = "ehlo"      // EHLO and HELO
	StartTLS  Stage = "starttls"  // the reply in plain text
	Handshake Stage = "handshake" // after that reply, or first of all with ImplicitTLS
	Auth      Stage = "auth"      // every reply to AUTH, also the 334 ones
	Mail      Stage = "mail"
	Rcpt      Stage = "rcpt"
	Data      Stage = "data" // the 354
	Body      Stage = "body" // before the body, or a chunk of BDAT, is read
	Chunk     Stage = "bdat" // the reply to a chunk that is not the last
	Dot       Stage = "dot"  // the final reply, also that to BDAT LAST
	Reset     Stage = "rset"
	Noop      Stage = "noop"
	Quit      Stage = "quit"
)

// Drop says when a connection is closed.
type Drop int

// The values of Drop.
const (
	DropNever  Drop = iota
	DropBefore      // instead of the reply
	DropMid         // after half of the reply
	DropAfter       // after the reply
)

// Fault is one misbehaviour. The first fault in the list that fits a step
// strikes; the others are not looked at.
type Fault struct {
	Stage Stage
	To    string // stage Rcpt: only this address, as written between < and >; "": any
	Conn  int    // only this connection, counted from 1; 0: any
	After int    // spare the first After steps that fit
	Times int    // strike this often at most; 0: always

	Gate  *Gate         // hold here until it is released or the server is closed
	Delay time.Duration // wait this long first
	// Reply is sent instead of the usual reply: lines separated by "\n", each
	// complete with its code, without CR LF. A 5yz or 4yz also keeps the command
	// from being carried out; a 421 closes the connection after it.
	Reply string
	Raw   string // sent octet by octet instead of the usual reply
	Drop  Drop
	RST   bool // with Drop: close by a TCP reset
	Split int  // with N > 0: send the reply in segments of N octets
	// Read is for the stage Body: take this many octets of it, then drop.
	Read int64
}

// Step is what a Judge knows of one step of a session.
type Step struct {
	Stage   Stage
	EHLO    string
	User    string   // of AUTH
	Address string   // of MAIL and RCPT, as written between < and >
	To      int      // recipients that were taken before
	Taken   int      // messages of the connection that were taken before
	Message *Message // at Dot; what the Judge changes in it is what the server keeps
}

// Gate holds sessions at a fault. It may be used by one or many.
type Gate struct {
	reached, released chan struct{}
	r, l              sync.Once
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), released: make(chan struct{})}
}

// Reached is closed as soon as a session stands at the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Release lets everybody through, now and later.
func (g *Gate) Release() { g.l.Do(func() { close(g.released) }) }

func (g *Gate) wait(done <-chan struct{}) {
	g.r.Do(func() { close(g.reached) })
	select {
	case <-g.released:
	case <-done:
	}
}

// Common is what a server offers when Options.Offer is nil.
var Common = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING"}

// Options of a server. The zero value is an obliging upstream in plain text.
type Options struct {
	Addr string // to listen on; "" is 127.0.0.1:0
	Name string // in greeting and EHLO reply; "" is upstream.test
	// Offer holds the keyword lines of the EHLO reply in plain text, such as
	// "SIZE 1000", "STARTTLS", "AUTH PLAIN LOGIN" or "REQUIRETLS"; nil is Common,
	// an empty list none. What is not offered is not understood either.
	Offer []string
	// TLSOffer is Offer under TLS; nil is Offer without STARTTLS.
	TLSOffer []string

	// TLS is for STARTTLS and ImplicitTLS; nil: a certificate of Server.CA for
	// localhost, upstream.test, 127.0.0.1 and ::1.
	TLS         *tls.Config
	ImplicitTLS bool

	Users map[string]string // passwords for AUTH PLAIN and LOGIN
	// Token judges the access token that a user sends by AUTH XOAUTH2 or
	// OAUTHBEARER; nil takes none. What is not taken is told behind 334.
	Token       func(user, token string) bool
	RequireAuth bool // MAIL without AUTH is 530

	// Lenient makes the server end a body at LF . LF too, as the victims of
	// smuggling do.
	Lenient bool

	Faults []Fault
	// Judge, where no Fault strikes, gives the reply of a step in place of the
	// usual one; "" is the usual one. See providers.go for whole ones.
	Judge func(Step) string

	// OnMessage is called for each accepted message before the final reply, from
	// the session's goroutine.
	OnMessage func(*Message)
	// Discard keeps neither messages nor commands, only counts: for measuring.
	// OnMessage then sees no Data.
	Discard bool

	// Idle ends a session that is silent for this long; 0 is one minute.
	Idle time.Duration
}

func (o *Options) setDefaults() {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Name == "" {
		o.Name = "upstream.test"
	}
	if o.Offer == nil {
		o.Offer = Common
	}
	if o.TLSOffer == nil {
		for _, line := range o.Offer {
			if line != "STARTTLS" {
				o.TLSOffer = append(o.TLSOffer, line)
			}
		}
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
}

// offers returns the parameters of an offered keyword.
func offers(lines []string, keyword string) (string, bool) {
	for _, line := range lines {
		word, params, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			return params, true
		}
	}
	return "", false
}
