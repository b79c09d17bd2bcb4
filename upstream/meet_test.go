package upstream

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
)

// TestDSNIsOfferedWhereEveryHostDoes: one host that does not offer it, or that nobody
// has spoken with, is enough not to.
func TestDSNIsOfferedWhereEveryHostDoes(t *testing.T) {
	with := smtptest.Start(t, smtptest.Options{Offer: []string{"DSN"}})
	without := smtptest.Start(t, smtptest.Options{Offer: []string{"PIPELINING"}})
	gone := smtptest.Start(t, smtptest.Options{})
	gone.Close()
	for _, tt := range []struct {
		name  string
		hosts []string
		want  bool
	}{
		{"one that does", []string{with.Addr()}, true},
		{"one that does not", []string{without.Addr()}, false},
		{"one of each", []string{with.Addr(), without.Addr()}, false},
		{"one of them down", []string{with.Addr(), gone.Addr()}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(t, testConfig(tt.hosts...))
			if u.OffersDSN() {
				t.Error("offered before anybody was asked")
			}
			<-u.Meet(Route{})
			if got := u.OffersDSN(); got != tt.want {
				t.Errorf("offered %v", got)
			}
			if s := u.Hosts()[0]; s.DSN != (tt.hosts[0] == with.Addr()) || s.LastSuccess.IsZero() {
				t.Errorf("state %+v", s)
			}
		})
	}
	if newUpstream(t, Config{Capture: t.TempDir()}).OffersDSN() {
		t.Error("an upstream that captures delivers nothing and makes no reports")
	}
}

// TestDSNFollowsTheLastEHLO: what a host offers may change, under TLS, too.
func TestDSNFollowsTheLastEHLO(t *testing.T) {
	u, s := start(t, smtptest.Options{Offer: []string{"DSN"}}, func(c *Config) { c.MessagesPerConnection = 1 })
	mailOnce := func() {
		send(t.Context(), u, Route{}, mail.Envelope{}, Content{Prefix: []byte(plainText)}, recipients("b@b.example")...)
	}
	mailOnce()
	if !u.OffersDSN() {
		t.Error("not offered behind the first EHLO")
	}
	s.SetFaults(smtptest.Fault{Stage: smtptest.Hello, Reply: "250-x\n250 SIZE"})
	mailOnce()
	if u.OffersDSN() {
		t.Error("offered although the last EHLO was not")
	}
	s.SetFaults()
	mailOnce()
	if !u.OffersDSN() {
		t.Error("not offered anew")
	}
}

// TestMeetTriesEachHostOnce: hosts that are known are left alone, and one that is down
// is told and tried again as ever.
func TestMeetTriesEachHostOnce(t *testing.T) {
	var log strings.Builder
	s := smtptest.Start(t, smtptest.Options{})
	gone := smtptest.Start(t, smtptest.Options{})
	gone.Close()
	u, err := New("test", testConfig(s.Addr(), gone.Addr()), Options{Hostname: "relay.example", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	<-u.Meet(Route{EHLO: "news.example"})
	<-u.Meet(Route{EHLO: "news.example"})
	u.Close(t.Context())
	if n := s.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if got := strings.Join(s.Commands(), ", "); got != "1 EHLO news.example, 1 QUIT" && got != "1 EHLO news.example" {
		t.Errorf("commands %s", got)
	}
	if n := strings.Count(log.String(), "upstream host is down"); n != 1 || u.Hosts()[1].Up {
		t.Errorf("%d lines, %+v", n, u.Hosts()[1])
	}
}

// TestMeetEndsWithItsUpstream: a host that says nothing holds nobody up.
func TestMeetEndsWithItsUpstream(t *testing.T) {
	gate := smtptest.NewGate()
	u, _ := start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Greeting, Gate: gate}}}, nil)
	met := u.Meet(Route{})
	<-gate.Reached()
	began := time.Now()
	u.Close(t.Context())
	<-met
	if d := time.Since(began); d > long/2 {
		t.Errorf("took %v", d)
	}
	gate.Release()
}
