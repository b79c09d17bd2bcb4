package text

import "testing"

func TestDurationAndSizeSurviveTheirText(t *testing.T) {
	for _, s := range []string{"0s", "90s", "1m30s", "36h", "7d", "1d12h", "150ms", "1us"} {
		d, err := ParseDuration(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if again, _ := ParseDuration(FormatDuration(d)); again != d {
			t.Errorf("%s became %s", s, FormatDuration(d))
		}
	}
	for _, s := range []string{"0B", "512B", "1KiB", "25MiB", "10KB", "1GiB", "1500B"} {
		n, err := ParseSize(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if again, _ := ParseSize(FormatSize(n)); again != n {
			t.Errorf("%s became %s", s, FormatSize(n))
		}
	}
	for _, s := range []string{"", "s", "1", "1w", "1.5h", "9223372036854775807d", "400000d", "1s ", " 1s", "１s"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%q was read as %v", s, d)
		}
	}
	for _, s := range []string{"", "B", "1", "-1B", "1.5MiB", "99999999TiB", "18446744073709551616B"} {
		if n, err := ParseSize(s); err == nil {
			t.Errorf("%q was read as %v", s, n)
		}
	}
}

func TestOneOfListsTheWords(t *testing.T) {
	type colour string
	var c colour
	if err := OneOf(&c, []byte("red"), "blue", "red"); err != nil || c != "red" {
		t.Errorf("got %q, %v", c, err)
	}
	const want = `"Red" is unknown; write one of "blue", "red"`
	if err := OneOf(&c, []byte("Red"), "blue", "red"); err == nil || err.Error() != want || c != "red" {
		t.Errorf("got %q, %v", c, err)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 4, ""}, {"four", 4, "four"}, {"five!", 4, "f..."}, {"aü", 3, "aü"},
		{"abüüü", 6, "ab..."}, {"abüüü", 7, "abü..."},
	} {
		if got := Clip(c.s, c.n); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
}
