package ratelimit

import (
	"testing"
	"time"
)

func TestNumberTexts(t *testing.T) {
	for text, want := range map[string]Number{
		"500/1h":      {N: 500, Window: time.Hour},
		"0/1h":        {N: 0, Window: time.Hour},
		"1000000/1s":  {N: 1_000_000, Window: time.Second},
		"1GiB/24h":    {N: 1 << 30, Window: 24 * time.Hour, size: true},
		"5 / 1h30m":   {N: 5, Window: 90 * time.Minute},
		"1/31d":       {N: 1, Window: MaxWindow},
		"7/1d12h":     {N: 7, Window: 36 * time.Hour},
		"10000000/7d": {N: 10_000_000, Window: 7 * 24 * time.Hour},
	} {
		var n Number
		if err := n.UnmarshalText([]byte(text)); err != nil || n != want {
			t.Errorf("%q: %+v, %v", text, n, err)
		}
		var back Number
		if err := back.UnmarshalText([]byte(n.String())); err != nil || back != n {
			t.Errorf("%q written as %q reads as %+v, %v", text, n, back, err)
		}
	}
	for _, text := range []string{
		"", "500", "500/", "/1h", "-1/1h", "1.5/1h", "500/0s", "500/1ms", "500/1500ms", "500/32d", "500/1", "500/h", "1e3/1h",
		"500/-1h", "500/+1h", "+5/1h", "99999999999999999999/1h", "1000000TiB/1h", "500/1h/2h", "5 00/1h", "500/1y", "0x10/1h", "1_000/1h",
		"1GiB", "GiB/1h", "500/d", "500/1dd", "500/99999d",
	} {
		var n Number
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, n)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"500/1h", "1GiB/24h", "0/31d", "1/1d12h", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var n, back Number
		if n.UnmarshalText([]byte(text)) != nil {
			return
		}
		if n.N < 0 || n.N > MaxNumber || n.Window < MinWindow || n.Window > MaxWindow || n.Window%time.Second != 0 {
			t.Fatalf("%q gave %+v", text, n)
		}
		if err := back.UnmarshalText([]byte(n.String())); err != nil || back != n {
			t.Fatalf("%q written as %q reads as %+v, %v", text, n, back, err)
		}
	})
}
