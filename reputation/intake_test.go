package reputation

import (
	"fmt"
	"testing"

	"postern/mail"
)

// Transactions come out as they went in, though the caller uses his recipients
// again and so does the intake its room.
func TestIntakeKeepsTransactionsApart(t *testing.T) {
	q := intake{came: make(chan struct{}, 1)}
	scratch := make([]Recipient, 0, 3)
	next, want := 0, 0
	for round := range 20 {
		for range round + 1 {
			scratch = scratch[:0]
			for i := range next % 4 {
				scratch = append(scratch, Recipient{Address: mail.RecipientID(fmt.Sprintf("%d.%d", next, i))})
			}
			q.add(&Transaction{ID: fmt.Sprint(next)}, scratch)
			next++
		}
		if len(q.came) != 1 {
			t.Fatalf("round %d: nobody is told", round)
		}
		<-q.came
		b := q.take()
		q.add(&Transaction{ID: fmt.Sprint(next)}, nil) // while b is counted
		next++
		for _, got := range b.transactions {
			if got.ID != fmt.Sprint(want) {
				t.Fatalf("transaction %s, want %d", got.ID, want)
			}
			for i, r := range got.Recipients {
				if string(r.Address) != fmt.Sprintf("%d.%d", want, i) {
					t.Errorf("transaction %d: recipient %d is %s", want, i, r.Address)
				}
			}
			want++
		}
		q.done(b)
		b = q.take()
		if len(b.transactions) != 1 || b.transactions[0].ID != fmt.Sprint(want) {
			t.Fatalf("then %+v, want %d", b.transactions, want)
		}
		want++
		q.done(b)
		if b := q.take(); len(b.transactions) != 0 {
			t.Fatalf("%d transactions are left", len(b.transactions))
		}
		<-q.came
	}
}

// What finds no room is counted, and the room is let go with what it held.
func TestIntakeIsBounded(t *testing.T) {
	q := intake{came: make(chan struct{}, 1)}
	many := make([]Recipient, 2)
	for range queueSize + 5 {
		q.add(&Transaction{ID: "t"}, many)
	}
	if n := q.lost(); n != 5 {
		t.Errorf("%d are lost, want 5", n)
	}
	if n := q.lost(); n != 0 {
		t.Errorf("%d are lost twice", n)
	}
	b := q.take()
	if len(b.transactions) != queueSize || len(b.recipients) != 2*queueSize {
		t.Errorf("%d transactions, %d recipients", len(b.transactions), len(b.recipients))
	}
	q.done(b)
	if b.transactions[0].ID != "" || cap(q.other.recipients) > roomKept {
		t.Errorf("kept: %+v and room for %d recipients", b.transactions[0], cap(q.other.recipients))
	}
}

// In the long run a transaction that was relayed costs no memory.
func TestNoteAllocatesNothing(t *testing.T) {
	m, err := NewMonitor(Options{Setup: testSetup(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.resolver.Load().Close()
	rs := []Recipient{{Address: "b@dest.example", Domain: "dest.example", Relayed: true, Code: 250}}
	count := func() {
		for range 100 {
			m.Note(&Transaction{ID: "t", Client: "c", Sender: "a@shop.example", Stream: "main"}, rs)
		}
		m.takeQueued()
	}
	count()
	if n := testing.AllocsPerRun(10, count); n > 1 {
		t.Errorf("%v allocations for 100 transactions", n)
	}
}

// BenchmarkNote is a transaction that was relayed, from its end to its count.
func BenchmarkNote(b *testing.B) {
	m, err := NewMonitor(Options{Setup: testSetup(nil)})
	if err != nil {
		b.Fatal(err)
	}
	defer m.resolver.Load().Close()
	ts, rs := make([]Transaction, 640), make([]Recipient, 640)
	for i := range ts {
		ts[i] = Transaction{ID: fmt.Sprintf("01kab3c4d5e6f7g8%04d", i), Client: "corporate", Sender: mail.Identity(fmt.Sprintf("orders%d@example.org", i%20)), Stream: "main",
			Upstream: "up"}
		rs[i] = Recipient{Address: mail.RecipientID(fmt.Sprintf("customer%d@dest.example", i%32)), Domain: "dest.example", Relayed: true, Code: 250}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Note(&ts[i%len(ts)], rs[i%len(ts):][:1])
		if i%400 == 399 {
			m.takeQueued()
		}
	}
}
