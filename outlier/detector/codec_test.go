package detector

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"postern/outlier/detector/compact"
)

func FuzzEvent(f *testing.F) {
	f.Add((&Event{At: 5, Client: "c", User: "u", Sender: "s", Shadowed: true, Recipients: []Recipient{{1, true, false, false}, {2, false, true, true}}}).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var n, m Event
		if _, err := n.Read(b); err != nil {
			return
		}
		again := n.Append(nil)
		if len(again) > n.Size() {
			t.Errorf("takes %d octets, announced as %d at most", len(again), n.Size())
		}
		if rest, err := m.Read(again); err != nil || len(rest) > 0 || fmt.Sprint(m) != fmt.Sprint(n) {
			t.Errorf("%+v comes back as %+v, %v", n, m, err)
		}
	})
}

// asIs is the Fold of names that are as they are.
func asIs(w Who) string { return w.Name }

// shop makes a detector to which a client has shown one message of a sender.
func shop() *Detector {
	d := New(usual(), Seed{1, 2})
	d.Count(&Event{At: 1_700_000_000, Client: "shop", Sender: "a@x.example", Recipients: []Recipient{{Hash: 1, Took: true}}}, nil)
	return d
}

func FuzzSnapshot(f *testing.F) {
	d := shop()
	f.Add(d.Snapshot(time.Unix(1_700_000_000, 0)).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := d.Restore(b, asIs); err == nil {
			d.Profile(1_700_000_001, Who{Sender, "a@x.example"}, nil)
		}
	})
}

func FuzzMerge(f *testing.F) {
	d := shop()
	d.Touch(&Finding{e: d.meters.find(ofSender, "a@x.example")})
	for _, m := range d.Touched() {
		f.Add(m.Key, m.Value)
	}
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		if d.Merge(1_700_000_001, key, b, asIs) == nil {
			for who := range d.All() {
				d.Profile(1_700_000_001, who, nil)
			}
		}
	})
}

// stored is a file that was packed.
func stored(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCountsOfAnEarlierReleaseAreRead reads a snapshot and a stored meter as they
// were before anything regular was learned.
func TestCountsOfAnEarlierReleaseAreRead(t *testing.T) {
	s := usual()
	s.MaxKnown = 10_000
	d := New(s, Seed{1, 2})
	if _, err := d.Restore(stored(t, "testdata/counts-1.snap.gz"), asIs); err != nil {
		t.Fatal(err)
	}
	e := d.meters.find(ofSender, "a@x.example")
	if e == nil || e.messages != 1 || !e.has(isOld) {
		t.Fatalf("sender %+v", e)
	}
	var w compact.Writer
	w.Str("shop")
	e.encode(&w) // and no tail
	d = New(s, Seed{3, 4})
	if err := d.Merge(int64(e.last), "0:a@x.example", w, asIs); err != nil {
		t.Fatal(err)
	}
	if e := d.meters.find(ofSender, "a@x.example"); e == nil || e.messages != 1 || !e.has(isOld) {
		t.Errorf("stored sender %+v", e)
	}
}

// TestSnapshotIsWrittenAsByAnEarlierRelease, so that this one can be taken back.
func TestSnapshotIsWrittenAsByAnEarlierRelease(t *testing.T) {
	old := stored(t, "../testdata/release-1/counts-00000002.snap.gz")
	s := usual()
	s.MaxKnown = 30_000
	d := New(s, Seed{})
	found, err := d.Restore(old, asIs)
	if err != nil || found.Forgotten != 0 {
		t.Fatal(found, err)
	}
	if !bytes.Equal(d.Snapshot(found.At).Encode(), old) {
		t.Error("what was restored is written in another way")
	}
}

// TestRunsSurviveRestartAndNodes: what is known of regular mail is kept, by a
// snapshot and by what nodes store for each other, also under another seed.
func TestRunsSurviveRestartAndNodes(t *testing.T) {
	const at = 1_700_000_000
	rs := &runs{last: 20_001, carry: 3, way: run{day: 20_000, times: 1, loud: true, top: sizes{{1, 2, 3}, {4, 5, 6}}}}
	rs.past[1] = run{day: 19_000, gap: 30, times: 2, top: sizes{{400, 400, 500}, {1, 1, 1}}}
	rs.inside = newMeter(at)
	rs.inside.add(at, &amount{sent: 7})
	d := shop()
	d.meters.setRuns(d.meters.find(ofSender, "a@x.example"), rs)
	same := func(how string) {
		t.Helper()
		e := d.meters.find(ofSender, "a@x.example")
		if e == nil {
			t.Fatalf("%s: sender is forgotten", how)
		}
		if got := d.meters.runsOf(e); got == nil || *got != *rs {
			t.Errorf("%s: %+v, want %+v", how, got, rs)
		}
	}
	d.Reseed(Seed{5, 6})
	same("another seed")
	if _, err := d.Restore(d.Snapshot(time.Unix(at, 0)).Encode(), asIs); err != nil {
		t.Fatal(err)
	}
	same("snapshot")
	e := d.meters.find(ofSender, "a@x.example")
	d.Touch(&Finding{e: e})
	all := d.Touched()
	if len(all) != 1 || all[0].Key != "0:a@x.example" || !all[0].Regular || len(all[0].Value) > 480 {
		t.Fatalf("stored as %+v", all)
	}
	d.meters.setRuns(e, nil)
	if err := d.Merge(at, all[0].Key, all[0].Value, asIs); err != nil {
		t.Fatal(err)
	}
	same("another node")
	for i := range d.meters.next {
		d.meters.forget(i)
	}
	if len(d.meters.regular) > 0 {
		t.Error("a sender is forgotten, its runs are not")
	}
}

func TestSnapshotKeepsEverything(t *testing.T) {
	d := New(usual(), Seed{1, 2})
	rng := rand.New(rand.NewPCG(1, 2))
	at := int64(1_700_000_000)
	for i := range 3000 {
		at += rng.Int64N(7200)
		ev := Event{At: at, Client: fmt.Sprint("c", rng.IntN(3)), User: fmt.Sprint("u", rng.IntN(9)), Sender: fmt.Sprintf("s%d@x.example", rng.IntN(50))}
		for range 1 + rng.IntN(4) {
			bad := rng.IntN(20) == 0
			ev.Recipients = append(ev.Recipients, Recipient{Hash: d.Hash(fmt.Sprint("r", rng.IntN(i+1))), Refused: bad, Took: !bad})
		}
		d.Count(&ev, nil)
	}
	b := d.Snapshot(time.Unix(at, 0)).Encode()
	o := New(usual(), Seed{3, 4})
	found, err := o.Restore(b, asIs)
	if err != nil || !found.At.Equal(time.Unix(at, 0)) {
		t.Fatal(found, err)
	}
	if string(o.Snapshot(found.At).Encode()) != string(b) {
		t.Error("what was restored differs")
	}
	for _, cut := range []int{0, 10, len(b) / 2, len(b) - 1} {
		if _, err := New(usual(), Seed{}).Restore(b[:cut], asIs); err == nil {
			t.Errorf("%d of %d octets were taken", cut, len(b))
		}
	}
}
