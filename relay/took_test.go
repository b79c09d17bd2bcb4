package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClockAddsUpWhatAStageTakes: several times of one stage are one sum, and a stage that
// begins ends the one before.
func TestClockAddsUpWhatAStageTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x transaction
		for range 3 {
			x.clock(&x.ev.Took.Limit)
			time.Sleep(2 * time.Second)
			x.unclock()
			time.Sleep(time.Minute)
		}
		x.clock(&x.ev.Took.Sign)
		time.Sleep(time.Second)
		x.clock(&x.ev.Took.UpstreamData)
		time.Sleep(5 * time.Second)
		x.unclock()
		x.unclock()
		if took := x.ev.Took; took.Limit != 6*time.Second || took.Sign != time.Second || took.UpstreamData != 5*time.Second || took.Body != 0 {
			t.Errorf("%+v", took)
		}
	})
}
