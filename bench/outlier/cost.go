package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"postern/mail"
	"postern/outlier"
)

// plainRule counts how often the plain rule on refused recipients begins to
// hold on a recording, by sender-year: exact sums over the last 24 hours.
func plainRule(r *recording, rule outlier.RefusedRule) (alerts, suspensions float64) {
	for _, of := range r.of {
		first, n, bad := 0, 0, 0
		var lastAlert, lastSuspension int64
		for _, i := range of {
			e := &r.events[i]
			n += len(e.rcpts)
			bad += int(e.refused)
			for r.events[of[first]].at <= e.at-86400 {
				n -= len(r.events[of[first]].rcpts)
				bad -= int(r.events[of[first]].refused)
				first++
			}
			if n < rule.MinRecipients {
				continue
			}
			if share := float64(bad) / float64(n); share >= rule.Alert {
				if lastAlert == 0 || e.at-lastAlert > gap {
					alerts++
				}
				lastAlert = e.at
				if share >= rule.Suspend {
					if lastSuspension == 0 || e.at-lastSuspension > gap {
						suspensions++
					}
					lastSuspension = e.at
				}
			}
		}
	}
	return alerts / r.years(), suspensions / r.years()
}

// cost measures memory and time with 100,000 senders.
func cost() {
	const senders, events = 100_000, 1_000_000
	var cfg outlier.Config
	cfg.SetDefaults()
	names := make([]string, senders)
	for i := range names {
		names[i] = fmt.Sprintf("sender%06d@example.org", i)
	}
	rcpts := make([][]string, 1000)
	for i := range rcpts {
		rcpts[i] = []string{fmt.Sprintf("recipient%d@example.net", i)}
	}
	var touched byte
	before := heap() + 2*float64(cfg.MaxKnown) // the sketch belongs to all
	r, err := outlier.NewReplay(cfg)
	if err != nil {
		panic(err) // defaults are always right
	}
	at := int64(1_700_000_000)
	for i, name := range names {
		r.Message(at+int64(i/1000), strings.Clone(name), "client", rcpts[i%1000], 0)
	}
	bytes := (heap() - before) / senders
	var used time.Duration
	var batch [1000]string
	for i := 0; i < events; i += len(batch) {
		for j := range batch {
			// As by a relay, which has just read it from the client, the name is
			// read before; the sender's state is not.
			batch[j] = names[(i+j)*7919%senders]
			touched += batch[j][0]
		}
		begin := cpuTime()
		for j, name := range batch {
			r.Message(at+100+int64((i+j)/100), name, "client", rcpts[j], 0)
		}
		used += cpuTime() - begin
	}
	fmt.Printf("cost with %d senders: %.0f octets a sender, name included, and %.0f ns an event\n",
		senders, bytes, float64(used)/events)
	runtime.KeepAlive(r)
	runtime.KeepAlive(touched)
}

// mailboxes behind one MTA, each of which sends from a network of its own. Their words are
// made before anything is measured, as their garbage is no cost of the watch.
type mailboxes struct {
	of         []words
	recipients []string
	touched    byte // of the words, so that they are read
}

type words struct{ from, submitter, ip string }

func newMailboxes(n int) *mailboxes {
	m := &mailboxes{of: make([]words, n), recipients: make([]string, 1000)}
	for i := range m.of {
		name := fmt.Sprintf("sender%06d", i)
		m.of[i] = words{name + "@example.org", "mta/" + name, addr(int32(i) + 1).String()}
	}
	for i := range m.recipients {
		m.recipients[i] = fmt.Sprintf("recipient%d@example.net", i)
	}
	return m
}

// message sets ev to one of mailbox i to a recipient. As in a relay, which has just read
// them from the client, the words are read before the watch sees them.
func (m *mailboxes) message(ev *mail.Event, i, to int) {
	w := &m.of[i]
	m.touched += w.from[0] + w.submitter[0] + w.ip[0]
	*ev = mail.Event{
		ID: "transaction", Client: "mta", ClientIP: "192.0.2.25", From: w.from, Submitter: w.submitter, SubmitterIP: w.ip,
		To: append(ev.To[:0], mail.RecipientEvent{Address: m.recipients[to%len(m.recipients)], Outcome: mail.Relayed, Rule: "upstream"}),
	}
}

// decoyFile writes a file with one decoy, which the caller removes.
func decoyFile() (name string, err error) {
	f, err := os.CreateTemp("", "decoys")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString("decoy@example.org\n")
	return f.Name(), errors.Join(err, f.Close())
}

// costOfAll measures the same with all that the watch knows of a submitter: networks, whom
// senders know, the brake, which is asked about each message, and decoys.
func costOfAll() error {
	const senders, events = 100_000, 1_000_000
	decoys, err := decoyFile()
	if err != nil {
		return err
	}
	defer os.Remove(decoys)
	var cfg outlier.Config
	cfg.SetDefaults()
	cfg.Pairs, cfg.Decoys, cfg.MaxSenders = true, []string{decoys}, 800_000
	now := time.Unix(1_700_000_000, 0)
	boxes := newMailboxes(senders)
	before := heap() + 2*float64(cfg.MaxKnown)
	w, err := outlier.New(cfg, outlier.Options{Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	var batch [100]mail.Event
	for i := range senders {
		ev := &batch[0]
		boxes.message(ev, i, i)
		// What the watch keeps of these counts as its own.
		ev.From, ev.Submitter = strings.Clone(ev.From), strings.Clone(ev.Submitter)
		w.Observe(ev)
	}
	bytes := (heap() - before) / senders
	var used time.Duration
	for i := 0; i < events; i += len(batch) {
		for j := range batch {
			boxes.message(&batch[j], (i+j)*7919%senders, i+j)
		}
		now = now.Add(time.Second)
		begin := cpuTime()
		for j := range batch {
			ev := &batch[j]
			w.BrakeMessage(ev.ID, ev.Client, ev.Submitter, mail.Identity(ev.From), mail.RecipientOf(ev.To[0].Address))
			w.Observe(ev)
		}
		used += cpuTime() - begin
	}
	fmt.Printf("cost with %d submitters and everything on: %.0f octets each, names included, and %.0f ns an event with the question to the brake\n",
		senders, bytes, float64(used)/events)
	runtime.KeepAlive(w)
	runtime.KeepAlive(boxes)
	return nil
}

// cpuTime is what the process has used so far: other load does not count.
func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
