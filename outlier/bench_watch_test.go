package outlier

import (
	"fmt"
	"testing"

	"postern/mail"
)

// BenchmarkWatch is one transaction of one of 20 senders to one known recipient,
// from MAIL to its event.
func BenchmarkWatch(b *testing.B) {
	for _, row := range []struct {
		name   string
		change func(*Config)
		other  string // a sender that is suspended
	}{
		{"usual", func(c *Config) { c.Sensitivity = 0.1 }, ""},
		{"another is suspended", func(c *Config) { c.Sensitivity = 0.1 }, "other@example.org"},
		{"throttled in shadow", func(c *Config) { c.Mode = Shadow }, ""},
	} {
		b.Run(row.name, func(b *testing.B) { benchmarkWatch(b, row.change, row.other) })
	}
}

func benchmarkWatch(b *testing.B, change func(*Config), other string) {
	var cfg Config
	cfg.SetDefaults()
	change(&cfg)
	w, err := New(cfg, Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer w.disk.Close()
	if other != "" {
		if _, err := w.Suspend(Order{Scope: Sender, Name: other, Reason: "test", By: "test"}); err != nil {
			b.Fatal(err)
		}
	}
	events := make([]mail.Event, 640)
	for i := range events {
		events[i] = *event("corporate", "", fmt.Sprintf("orders%d@example.org", i%20))
		to(&events[i], fmt.Sprintf("customer%d@dest.example", i%32), false)
		w.Observe(&events[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := &events[i%len(events)]
		w.Judge(e.Client, e.User, mail.Identity(e.From))
		w.Observe(e)
		if i%20_000 == 0 {
			w.tick() // as in a second of a busy node
		}
	}
}

// BenchmarkAdmit is the three questions of one message, at RCPT, before 354 and
// before it is forwarded, and its end in the flights.
func BenchmarkAdmit(b *testing.B) {
	var cfg Config
	cfg.SetDefaults()
	w, err := New(cfg, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ids, from := make([]string, 64), make([]mail.Identity, 64)
	for i := range ids {
		ids[i], from[i] = fmt.Sprint("transaction", i), mail.Identity(fmt.Sprintf("orders%d@example.org", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := ids[i%64]
		for range 3 {
			w.Admit(id, "corporate", "anna", "", "main", from[i%64], 1)
		}
		w.flights.end(id)
	}
}
