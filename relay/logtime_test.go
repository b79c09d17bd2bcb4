package relay

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The time of a line, of which the second may be kept from an earlier line, is
// the one that time.Time formats: over zones and their changes, years and parts
// of a second.
func TestTimeOfALineIsThatOfTheTime(t *testing.T) {
	places := []*time.Location{time.UTC, time.Local, time.FixedZone("", -12345), time.FixedZone("", 5*3600+1800)}
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"} {
		if place, err := time.LoadLocation(name); err == nil { // Debian package tzdata
			places = append(places, place)
		}
	}
	seconds := []int64{0, -1, 1, -62135596800, 253402300799} // 1970, the years 1 and 9999
	for _, when := range []string{"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-12-31T23:59:59Z", "2028-02-29T00:00:00Z", "2026-10-03T15:30:00Z"} {
		at, _ := time.Parse(time.RFC3339, when)
		for d := int64(-1); d <= 1; d++ {
			seconds = append(seconds, at.Unix()+d)
		}
	}
	nanos := []int64{0, 1, 999, 1_000, 999_999, 1_000_000, 10_000_000, 123_000_000, 100_000_000, 500_500_000, 999_999_999}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		seconds = append(seconds, random.Int64N(253402300799))
		nanos = append(nanos, random.Int64N(1e9))
	}
	var s second
	check := func(at time.Time) {
		t.Helper()
		s.of(at)
		millis := string(append(appendMillis(s.date, at.Nanosecond()), s.zone...))
		if want := at.Format("2006-01-02T15:04:05.000Z07:00"); millis != want {
			t.Fatalf("%s, want %s", millis, want)
		}
		fraction := string(append(appendFraction(s.date, at.Nanosecond()), s.zone...))
		if want := at.Format(time.RFC3339Nano); fraction != want {
			t.Fatalf("%s, want %s", fraction, want)
		}
	}
	for i, unix := range seconds {
		for _, place := range places {
			check(time.Unix(unix, nanos[i%len(nanos)]).In(place))
		}
	}
	for _, n := range nanos { // of one second
		check(time.Unix(seconds[5], n).In(places[1]))
	}
}
