package spare

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestRestIsFourTimesTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for worked, want := range map[time.Duration]time.Duration{0: 0, 10 * time.Millisecond: 40 * time.Millisecond, time.Minute: time.Second} {
			began := time.Now()
			if Rest(t.Context(), worked); time.Since(began) != want {
				t.Errorf("%s of work: a rest of %s, want %s", worked, time.Since(began), want)
			}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		began := time.Now()
		if Rest(ended, time.Minute); time.Since(began) != 0 {
			t.Errorf("behind the end: a rest of %s", time.Since(began))
		}
	})
}

func TestEachMinuteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithTimeout(t.Context(), 3*time.Minute+time.Second)
		defer end()
		n := 0
		if EachMinute(ctx, func(context.Context) { n++ }); n != 3 {
			t.Errorf("%d calls in three minutes", n)
		}
	})
}
