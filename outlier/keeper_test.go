package outlier

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// message is one of a sender to a recipient who is known from then on.
func (r *rig) message() {
	ev := event("shop", "", "a@x.example")
	to(ev, "b@y.example", false)
	r.Observe(ev)
}

// kill leaves the watch as a killed process does: nothing is written any more.
func (r *rig) kill() { r.Watch = nil }

func TestKilledProcessForgetsNoSuspension(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	r.send("shop", "", "bad@x.example", 300, time.Hour, 30)
	r.Suspend(Order{Scope: User, Name: "u", By: "ops", Reason: "stolen"})
	r.Suspend(Order{Scope: Client, Name: "c", For: time.Hour, By: "ops"})
	if _, err := r.Release(Order{Scope: Client, Name: "c", By: "ops"}); err != nil {
		t.Fatal(err)
	}
	until := r.Judge("shop", "", "bad@x.example").Until
	r.kill()
	r.open(dir, nil, nil)
	if v := r.Judge("shop", "", "bad@x.example"); !v.Refuse() || !v.Until.Equal(until) {
		t.Errorf("sender: %+v, want until %v", v, until)
	}
	if v := r.Judge("x", "u", ""); !v.Refuse() || !v.Until.IsZero() {
		t.Errorf("user: %+v", v)
	}
	if v := r.Judge("c", "", ""); v.Refuse() {
		t.Errorf("released client: %+v", v)
	}
}

func TestKilledProcessForgetsFewCounts(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	r.ordinary("shop", "u", "a@x.example", 70, 5)
	r.send("shop", "u", "a@x.example", 10, time.Hour, 0)
	r.tick()
	want, err := r.Show(Sender, "a@x.example")
	if err != nil {
		t.Fatal(err)
	}
	r.send("shop", "u", "a@x.example", 3, time.Second, 0) // not yet written
	r.kill()
	for range 3 { // the log is read again and again until a snapshot is due
		r.open(dir, nil, nil)
		got, err := r.Show(Sender, "a@x.example")
		if err != nil {
			t.Fatal(err)
		}
		if got.Messages != want.Messages || got.Hour != want.Hour || got.UsualDay != want.UsualDay {
			t.Errorf("%+v, was %+v", got, want)
		}
		r.kill()
	}
	r.open(dir, nil, nil)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	r.Run(stopped)
	r.open(dir, nil, nil)
	if got, err := r.Show(Sender, "a@x.example"); err != nil || got.Messages != want.Messages || fmt.Sprint(got.History) != fmt.Sprint(want.History) {
		t.Errorf("after an orderly end: %+v, %v", got, err)
	}
	// The recipients are known still.
	ev := event("shop", "u", "a@x.example")
	to(ev, "colleague1@y.example", false)
	before, _ := r.explain(Sender, "a@x.example")
	r.Observe(ev)
	after, _ := r.explain(Sender, "a@x.example")
	if before.Parts[1].Now != after.Parts[1].Now {
		t.Errorf("a known recipient counts as new: %+v, %+v", before, after)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "counts-*")); len(files) > 3 {
		t.Errorf("files are left over: %v", files)
	}
}

func TestDamagedFilesAreNoObstacle(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	r.send("shop", "", "a@x.example", 10, time.Hour, 0)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	r.Run(stopped)
	r.open(dir, nil, nil)
	r.Suspend(Order{Scope: User, Name: "u", By: "ops"})
	r.send("shop", "", "a@x.example", 5, time.Hour, 0)
	r.tick()
	r.kill()
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".snap") {
			b[len(b)/2] ^= 1
		} else {
			b = append(b, "\x07cut o"...)
		}
		os.WriteFile(f, b, 0o600)
	}
	r.open(dir, nil, nil)
	if !r.Judge("x", "u", "").Refuse() {
		t.Error("a suspension is lost beside damaged files")
	}
	if d, err := r.Show(Sender, "a@x.example"); err != nil || d.Messages != 5 {
		t.Errorf("the log after the damaged snapshot: %+v, %v", d, err)
	}
}

// TestNoOrderOfEventsLosesASuspension: whatever happens on two nodes, in
// whatever order it becomes known elsewhere, the latest decision holds on all
// nodes, and after a restart.
func TestNoOrderOfEventsLosesASuspension(t *testing.T) {
	for round := range uint64(80) {
		rng := rand.New(rand.NewPCG(round, 7))
		dir := t.TempDir()
		r := newRigIn(t, dir, nil, nil)
		k := detector.Who{Scope: Sender, Name: "a@x.example"}
		var all []State
		decide := func() {
			switch r.at = r.at.Add(time.Duration(rng.IntN(900)) * time.Second); rng.IntN(5) {
			case 0:
				r.Suspend(Order{Scope: k.Scope, Name: k.Name, For: time.Duration(1+rng.IntN(5)) * time.Hour, By: "ops"})
			case 1:
				r.Suspend(Order{Scope: k.Scope, Name: k.Name, By: "ops"})
			case 2:
				r.Release(Order{Scope: k.Scope, Name: k.Name, By: "ops"})
			case 3:
				r.send("shop", "", k.Name, 100, 10*time.Minute, 30)
			case 4:
				r.tick()
			}
		}
		for range 12 {
			decide()
			for _, c := range r.changes {
				all = append(all, c.State)
			}
			r.changes = nil
		}
		want := r.Judge("shop", "", mail.Identity(k.Name))
		for _, order := range [][]int{rng.Perm(len(all)), rng.Perm(len(all))} {
			o := newRig(t, nil)
			o.at = r.at
			for _, i := range order {
				b, err := json.Marshal(&all[i])
				var st State
				if err == nil {
					err = json.Unmarshal(b, &st)
				}
				if err != nil {
					t.Fatal(err)
				}
				o.mu.Lock()
				o.merge(&st)
				o.mu.Unlock()
			}
			if got := o.Judge("shop", "", mail.Identity(k.Name)); got.Level != want.Level && want.Level == Suspended || got.Level == Suspended && !got.Until.Equal(want.Until) {
				t.Fatalf("round %d: another node says %+v, want %+v; %+v", round, got, want, all)
			}
		}
		r.kill()
		r.open(dir, nil, nil)
		if got := r.Judge("shop", "", mail.Identity(k.Name)); want.Level == Suspended && (got.Level != Suspended || !got.Until.Equal(want.Until)) {
			t.Fatalf("round %d: after a restart %+v, want %+v", round, got, want)
		}
	}
}
