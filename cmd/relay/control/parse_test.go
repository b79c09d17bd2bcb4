package control

import (
	"fmt"
	"testing"
	"time"

	"postern/ratelimit"
)

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)
	for _, c := range []struct{ text, want string }{
		{"18:00", "2026-03-04T18:00:00Z"},
		{"12:30", "2026-03-05T12:30:00Z"},
		{"3h", "2026-03-04T15:30:00Z"},
		{"+1d", "2026-03-05T12:30:00Z"},
		{"2026-12-24T18:00", "2026-12-24T18:00:00Z"},
		{"2026-12-24T18:00:00+02:00", "2026-12-24T18:00:00+02:00"},
		{"soon", ""},
		{"", ""},
	} {
		got, err := parseUntil(c.text, now)
		if (err != nil) != (c.want == "") || err == nil && got.Format(time.RFC3339) != c.want {
			t.Errorf("%q: %v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestParseMore(t *testing.T) {
	for _, c := range []struct {
		text string
		unit ratelimit.Unit
		want string
	}{
		{"+5000", ratelimit.Messages, "5000"}, {"7", ratelimit.Recipients, "7"}, {"+0", ratelimit.Messages, "0"},
		{"+1KiB", ratelimit.Bytes, "1024"}, {"0", ratelimit.Bytes, "0"},
		{"-3", ratelimit.Messages, "error"}, {"3x", ratelimit.Messages, "error"}, {"", ratelimit.Messages, "error"}, {"5", ratelimit.Bytes, "error"},
	} {
		n, err := parseMore(c.text, c.unit)
		got := fmt.Sprint(n)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%q %v: %s, want %s", c.text, c.unit, got, c.want)
		}
	}
}
