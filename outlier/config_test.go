package outlier

import (
	"encoding"
	"strings"
	"testing"
	"time"
)

func problems(check func(func(key, problem string))) string {
	var all []string
	check(func(key, problem string) { all = append(all, key+": "+problem) })
	return strings.Join(all, "\n")
}

func TestDefaultsAreRight(t *testing.T) {
	var c Config
	c.SetDefaults()
	for name, check := range map[string]func(func(key, problem string)){
		"outlier": c.Check, "volume": c.Volume.Check, "names": c.Names.Check, "refused": c.Refused.Check, "expiry": c.Expiry.Check,
	} {
		if p := problems(check); p != "" {
			t.Errorf("%s: %s", name, p)
		}
	}
	if c.Mode != Enforce {
		t.Errorf("mode %q", c.Mode)
	}
}

func TestCheckReportsEachProblem(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"sensitivity out of range", func(c *Config) { c.Sensitivity = 0 }, "sensitivity: is not between"},
		{"growth out of range", func(c *Config) { c.Growth = 2 }, "growth: is not between"},
		{"half-life out of range", func(c *Config) { c.HalfLife = time.Hour }, "half_life: is not between"},
		{"too few senders", func(c *Config) { c.MaxSenders = 1 }, "max_senders: is not between"},
		{"a policy of a name that is taken", func(c *Config) { c.Policy = map[string]Policy{"none": {Mode: Enforce, Sensitivity: 1}} }, "policy.none: has the name of a policy that is there"},
		{"an empty client", func(c *Config) { c.ShadowClients = []string{""} }, "shadow_clients.0: is empty"},
		{"an unknown zone", func(c *Config) { c.TimeZone = "Mars/Base" }, "time_zone: is not a known"},
	} {
		var c Config
		c.SetDefaults()
		row.change(&c)
		if p := problems(c.Check); !strings.HasPrefix(p, row.want) || strings.Count(p, "\n") > 0 {
			t.Errorf("%s: %q", row.name, p)
		}
	}
	if p := problems((&Thresholds{Alert: 2, Throttle: 1}).Check); !strings.HasPrefix(p, "throttle: is below alert") {
		t.Errorf("%q", p)
	}
	if p := problems((&RefusedRule{MinRecipients: 50, Alert: 0.5, Suspend: 0.1}).Check); !strings.HasPrefix(p, "suspend: is below alert") {
		t.Errorf("%q", p)
	}
	if p := problems((&Expiry{Alert: time.Hour, Throttle: time.Hour, Suspend: []time.Duration{time.Second}, Repeat: time.Hour}).Check); !strings.HasPrefix(p, "suspend.0: ") {
		t.Errorf("%q", p)
	}
	if p := problems((&Expectation{Days: []Day{1}}).Check); !strings.HasPrefix(p, "expected: is missing") {
		t.Errorf("%q", p)
	}
}

func TestFormsReadWhatTheyWrite(t *testing.T) {
	for _, row := range []struct {
		into encoding.TextUnmarshaler
		text string
		good bool
	}{
		{new(Mode), "shadow", true}, {new(Mode), "on", false}, {new(Mode), "", false},
		{new(Pace), "500/1h", true}, {new(Pace), "500/24h", true}, {new(Pace), "0/1h", false}, {new(Pace), "500", false}, {new(Pace), "5/2h", false},
		{new(Day), "mon", true}, {new(Day), "Monday", false},
		{new(Hours), "06-10", true}, {new(Hours), "22-02", true}, {new(Hours), "6-10", false}, {new(Hours), "06-06", false}, {new(Hours), "24-02", false},
		{new(Level), "throttle", true}, {new(Level), "gone", false},
	} {
		err := row.into.UnmarshalText([]byte(row.text))
		if (err == nil) != row.good {
			t.Errorf("%T %q: %v", row.into, row.text, err)
		}
		if err != nil {
			continue
		}
		if b, err := row.into.(encoding.TextMarshaler).MarshalText(); err != nil || string(b) != row.text {
			t.Errorf("%T %q is written as %q, %v", row.into, row.text, b, err)
		}
	}
}

func TestHoursGoOverMidnight(t *testing.T) {
	h := Hours{22, 2}
	for hour, want := range map[int]bool{21: false, 22: true, 23: true, 0: true, 1: true, 2: false, 12: false} {
		if h.has(hour) != want {
			t.Errorf("%d: %v", hour, !want)
		}
	}
}

func FuzzForms(f *testing.F) {
	for _, s := range []string{"shadow", "500/1h", "mon", "06-10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, into := range []encoding.TextUnmarshaler{new(Mode), new(Pace), new(Day), new(Hours), new(Level)} {
			if into.UnmarshalText([]byte(s)) != nil {
				continue
			}
			b, err := into.(encoding.TextMarshaler).MarshalText()
			if err != nil {
				t.Errorf("%T %q: %v", into, s, err)
			}
			if err := into.UnmarshalText(b); err != nil {
				t.Errorf("%T %q is written as %q: %v", into, s, b, err)
			}
		}
	})
}

// TestStrictLoosensNothing: a client is watched no less closely by "strict" than by what
// holds for all.
func TestStrictLoosensNothing(t *testing.T) {
	for _, row := range [][2]string{{"", "2/10m"}, {"5/10m", "2/10m"}, {"1/10m", "1/10m"}, {"2/24h", "2/1d"}, {"1/5m", "2/10m"}, {"3/24h", "2/10m"}} {
		var c Config
		if err := c.Spam.UnmarshalText([]byte(row[0])); err != nil {
			t.Fatal(err)
		}
		p, _ := c.policyOf("strict")
		if got, err := p.Spam.MarshalText(); err != nil || string(got) != row[1] {
			t.Errorf("spam = %q: strict is %s, not %s; %v", row[0], got, row[1], err)
		}
	}
}
