// Package storetest holds any ratelimit.Store to what the interface promises, and
// has the helpers with which tests speak to one. A new store has a test such as
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Bed {
//			clock := storetest.NewClock()
//			return storetest.Bed{Store: open(t, clock.Now), Clock: clock}
//		})
//	}
//
// where open makes an empty store that goes by the clock of the test. RunClaims
// then tries what a Limiter keeps in a store beside the counts.
package storetest
