package store

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/redistest"
	"postern/outlier/detector"
)

// TestNodesShareWhatOneHasLearned: whom one node finds in its journal is known to the
// others within two minutes, and what they write of their own does not take it away.
func TestNodesShareWhatOneHasLearned(t *testing.T) {
	s := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { rdb.Close() })
	var nodes []*Link
	for range 2 {
		src, _ := source()
		l := NewLink(src, &Shared{Client: rdb, Prefix: "test"})
		if err := l.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, l)
	}
	one, two := nodes[0], nodes[1]
	d := one.src.Detector
	past := d.NewPast()
	past.Add("shop", "a@x.example", "friend@y.example")
	for chunk := range d.Known().Chunks() {
		if _, _, ok := d.TakePast(past, chunk); !ok {
			t.Fatal("the table is another one")
		}
	}
	d.MarkPast("shop", time.Unix(1_700_000_000, 0), false)
	one.Learned()
	another := two.src.Detector
	another.Count(&detector.Event{At: 1_700_000_000, Client: "shop", Sender: "a@x.example",
		Recipients: []detector.Recipient{{Hash: another.Hash("another@y.example"), Took: true}}}, nil)
	for _, l := range []*Link{one, two, one, two} {
		l.shareLearned(t.Context(), l.storeKnown(t.Context()))
	}
	late, _ := source()
	joined := NewLink(late, &Shared{Client: rdb, Prefix: "test"})
	if err := joined.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, l := range []*Link{one, two, joined} {
		d := l.src.Detector
		if !d.Knows("shop", d.Hash("friend@y.example")) {
			t.Errorf("node %d does not know who was learned", i)
		}
		if i > 0 && !d.Knows("shop", d.Hash("another@y.example")) {
			t.Errorf("node %d does not know whom it has written to", i)
		}
	}
	if one.learned || one.learnedSeen != "1" || two.learnedSeen != "1" {
		t.Errorf("told %v, seen %q and %q", !one.learned, one.learnedSeen, two.learnedSeen)
	}
}
