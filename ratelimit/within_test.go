package ratelimit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithin(t *testing.T) {
	over := func(ctx context.Context) bool {
		select {
		case <-ctx.Done():
			return true
		default:
			return false
		}
	}
	t.Run("it ends in time, asked for Done or not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			asked, quiet := newWithin(t.Context(), time.Second), newWithin(t.Context(), time.Second)
			defer asked.end()
			defer quiet.end()
			done := asked.Done()
			time.Sleep(time.Second - 1)
			synctest.Wait()
			if over(asked) || asked.Err() != nil || quiet.Err() != nil {
				t.Error("over too early")
			}
			time.Sleep(1)
			synctest.Wait()
			<-done
			if asked.Err() != context.DeadlineExceeded || quiet.Err() != context.DeadlineExceeded || !over(quiet) {
				t.Errorf("errors %v and %v", asked.Err(), quiet.Err())
			}
		})
	})
	t.Run("it ends with its parent", func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		outer := newWithin(parent, time.Hour)
		inner := newWithin(outer, time.Hour)
		defer outer.end()
		defer inner.end()
		done := inner.Done()
		cancel()
		<-done
		if !errors.Is(inner.Err(), context.Canceled) || !over(outer) {
			t.Errorf("errors %v and %v", inner.Err(), outer.Err())
		}
	})
	t.Run("the earliest deadline holds, and no timer is set for the outer one", func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		outer := newWithin(parent, 2*time.Hour)
		inner := newWithin(outer, 3*time.Hour)
		inner.Done()
		defer inner.end()
		want, _ := parent.Deadline()
		if at, ok := inner.Deadline(); !ok || !at.Equal(want) || outer.timed != nil {
			t.Errorf("ends at %s, want %s; timer of the outer one: %v", at, want, outer.timed)
		}
	})
}

// A client library may still use what it has made of the context (to finish a
// connection, say) when the call has ended.
func TestWithinEndsWhatWasMadeOfIt(t *testing.T) {
	for name, before := range map[string]bool{"made before the end": true, "made after it": false} {
		w := newWithin(t.Context(), time.Hour)
		if !before {
			w.end()
		}
		child, cancel := context.WithTimeout(w, time.Minute)
		defer cancel()
		if before {
			w.end()
		}
		<-child.Done()
		if child.Err() != context.Canceled || w.Err() != context.Canceled {
			t.Errorf("%s: %v and %v, want both canceled", name, child.Err(), w.Err())
		}
	}
}
