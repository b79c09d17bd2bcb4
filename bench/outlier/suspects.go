package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"postern/mail"
	"postern/reputation"
)

// question is one listing: who caused it? attack is 0 when nobody did.
type question struct {
	at     int64
	attack int32
}

// tallyOf counts answers.
type tallyOf struct{ asked, first, three, none int }

func (t *tallyOf) String() string {
	p := func(n int) float64 { return 100 * float64(n) / float64(max(t.asked, 1)) }
	return fmt.Sprintf("first %5.1f %%, among three %5.1f %%, no suspect %5.1f %% (%d)", p(t.first), p(t.three), p(t.none), t.asked)
}

func (t *tallyOf) add(o tallyOf) {
	t.asked += o.asked
	t.first += o.first
	t.three += o.three
	t.none += o.none
}

// suspects measures whether the report on a listing names its cause: listings
// come 1 to 12 hours after the end of each attack, and without any attack at
// random times, half of them while mail is sent.
func (b *bench) suspects(w io.Writer) {
	var all tallyOf
	for _, r := range b.recs {
		quiet := b.ask(newScene(r, 7, b.o), quietTimes(newScene(r, 8, b.o)))
		fmt.Fprintf(w, "%s without abuse: %s\n", r.name, &quiet)
		for i := range attackKinds {
			k := &attackKinds[i]
			s := newScene(r, uint64(i)+100, b.o)
			s.attack(k)
			var qs []question
			for n, a := range s.attacks {
				qs = append(qs, question{a.end + s.rng.Int64N(11*3600), int32(n) + 1})
			}
			t := b.ask(s, qs)
			all.add(t)
			fmt.Fprintf(w, "  %-10s %s\n", k.name, &t)
		}
	}
	fmt.Fprintf(w, "all attacks: %s\n", &all)
}

func quietTimes(s *scene) (qs []question) {
	first, last := s.events[0].at+60*86400, s.events[len(s.events)-1].at
	for len(qs) < 400 {
		at := first + s.rng.Int64N(last-first)
		if len(qs)%2 == 0 {
			at = max(first, s.events[s.rng.IntN(len(s.events))].at)
		}
		qs = append(qs, question{at: at})
	}
	return qs
}

// ask plays the events and puts each question at its time.
func (b *bench) ask(s *scene, qs []question) (t tallyOf) {
	slices.SortFunc(qs, func(a, b question) int { return int(a.at - b.at) })
	h := reputation.NewHistory(24 * time.Hour)
	answer := func(q question) { t.count(s, q, h.Suspects(nil, time.Unix(q.at, 0), nil)) }
	for i := range s.events {
		for len(qs) > 0 && qs[0].at < s.events[i].at {
			answer(qs[0])
			qs = qs[1:]
		}
		h.Add(transactionOf(&s.events[i]))
	}
	for _, q := range qs {
		answer(q)
	}
	return t
}

func transactionOf(e *event) *reputation.Transaction {
	t := &reputation.Transaction{Time: time.Unix(e.at, 0), ID: "t", Client: clientName(e.sender), Sender: mail.Identity(senderName(e.sender)), Stream: "main"}
	for i, r := range e.rcpts {
		x := reputation.Recipient{Address: mail.RecipientID(strconv.Itoa(int(r))), Relayed: int32(i) >= e.refused}
		if !x.Relayed {
			x.Code, x.Class = 550, mail.ClassNoSuchUser
		}
		t.Recipients = append(t.Recipients, x)
	}
	return t
}

func senderName(n int32) string { return "s" + strconv.Itoa(int(n)) }
func clientName(n int32) string { return "c" + strconv.Itoa(clientOf(n)) }

// count looks where the cause stands. Senders that another attack of the same
// scene uses do not take its place; of an attack by several, one of them or
// their client is the cause.
func (t *tallyOf) count(s *scene, q question, list []reputation.Suspect) {
	t.asked++
	if len(list) == 0 || list[0].Score < reputation.NoSuspect {
		t.none++
	}
	if q.attack == 0 {
		return
	}
	a := s.attacks[q.attack-1]
	others := map[string]bool{}
	for i := range s.attacks {
		for _, n := range s.attacks[i].senders {
			others[senderName(n)] = true
		}
	}
	rank := 0
	for _, x := range list {
		own := slices.ContainsFunc(a.senders, func(n int32) bool { return senderName(n) == x.Name })
		if own || len(a.senders) > 1 && x.Kind == "client" && x.Name == "c"+strconv.Itoa(a.client) {
			break
		}
		if !others[x.Name] {
			rank++
		}
	}
	if rank == 0 && len(list) > 0 {
		t.first++
	}
	if rank < 3 && len(list) > 0 {
		t.three++
	}
}
