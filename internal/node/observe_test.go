package node

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/smtptest"
	"postern/mail"
)

// BenchmarkObserve is what one event costs all of a node's observers, and its
// MAIL the outlier watch: ns/op is what a session waits, cpu-ns/op the time of
// the whole process with what is done in the background.
func BenchmarkObserve(b *testing.B) {
	for _, row := range []struct{ name, more string }{
		{"usual", "sensitivity = 0.1"},
		{"throttled in shadow", `mode = "shadow"`},
	} {
		b.Run(row.name, func(b *testing.B) { benchmarkObserve(b, row.more) })
	}
}

const observedConfig = `
hostname = "mail.example.org"
state_dir = "state"
[listener.mta]
address = "127.0.0.1:0"
[client.corporate]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "up"
[upstream.up]
hosts = [%q]
tls = "off"
[control]
socket = "control.sock"
[reputation]
resolvers = ["127.0.0.1:9"]
timeout = "100ms"
[outlier]
%s
`

func benchmarkObserve(b *testing.B, outlier string) {
	path := filepath.Join(b.TempDir(), "relay.toml")
	text := fmt.Sprintf(observedConfig, smtptest.Start(b, smtptest.Options{}).Addr(), outlier)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	file, _, err := config.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	file.Journal.File = ""
	n, err := New(file, Options{Log: io.Discard})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer n.Stop(b.Context())
	events := relayedEvents()
	for i := range events { // until senders and recipients are known
		n.self.Observe(&events[i])
	}
	b.ReportAllocs()
	began := cpuTime()
	for i := 0; b.Loop(); i++ {
		e := &events[i%len(events)]
		n.watch.Judge(e.Client, e.User, mail.IdentityOf(e.From))
		n.self.Observe(e)
		if i%512 == 511 {
			b.StopTimer()
			time.Sleep(25 * time.Millisecond) // some 20,000 a second, as on a busy node
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
}

// relayedEvents are of 20 senders of one client, to one recipient each.
func relayedEvents() []mail.Event {
	events := make([]mail.Event, 640)
	for i := range events {
		sender := fmt.Sprintf("orders%d@example.org", i%20)
		events[i] = mail.Event{
			Time: time.Now(), Duration: 3 * time.Millisecond, ID: fmt.Sprintf("01kab3c4d5e6f7g8%04d", i), Client: "corporate", ClientIP: "127.0.0.1",
			Listener: "mta", Helo: "web1.example.org", Stream: "main", From: sender, Authors: []string{sender}, MessageID: "<1@example.org>",
			To: []mail.RecipientEvent{{Address: fmt.Sprintf("customer%d@dest.example", i%32), Outcome: mail.Relayed, Code: 250, Status: "2.0.0",
				Rule: "upstream", Reply: "Ok: queued as 4F2c1k3hQwz1"}},
			Size: 2048, Stage: "forward", Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "up",
			Host: "127.0.0.1:25", SourceIP: "127.0.0.1", Reply: "250 2.0.0 Ok: queued as 4F2c1k3hQwz1",
			Limits: []mail.LimitEvent{{Limit: "sender", Key: "sender=" + sender, Unit: "messages", Window: time.Hour, Max: 1000, Used: 17}},
		}
	}
	return events
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
