package warmup

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Defer is the value of Config.Overflow by which mail is told to come later.
const Defer = "defer"

// Schedule holds the budgets of all steps, in messages in any 24 hours; each is at least as
// large as the one before.
type Schedule []Step

// Step is the budget of one step.
type Step int64

// maxSteps bounds a schedule, maxStep a budget.
const (
	maxSteps = 200
	maxStep  = 100_000_000
)

// schedules are those that are built in.
var schedules = map[string]Schedule{
	// Doubling.
	"standard": {50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_500, 25_000, 50_000, 100_000},
	// By half as much again.
	"gentle": {20, 30, 45, 70, 100, 150, 220, 330, 500, 750, 1_100, 1_600, 2_400, 3_600, 5_400, 8_000, 12_000, 18_000, 27_000, 40_000, 60_000, 90_000},
}

// UnmarshalText reads the name of a built-in schedule.
func (s *Schedule) UnmarshalText(b []byte) error {
	one, ok := schedules[string(b)]
	if !ok {
		return fmt.Errorf(`%q is unknown; write one of "standard", "gentle", or a list of numbers, such as [50, 100, 200]`, b)
	}
	*s = slices.Clone(one)
	return nil
}

// String is the name of a built-in schedule, else its numbers.
func (s Schedule) String() string {
	var words []string
	for name, one := range schedules {
		if slices.Equal(s, one) {
			return name
		}
	}
	for _, n := range s {
		words = append(words, strconv.FormatInt(int64(n), 10))
	}
	return strings.Join(words, ", ")
}

// Config is one [upstream.NAME.warmup].
type Config struct {
	// Schedule is "standard" (50 messages in any 24 hours, then twice as many with each
	// step up to 100,000), "gentle" (20, then half as much again up to 90,000) or a list
	// of numbers of one's own, which never get smaller. Default: standard.
	Schedule Schedule `toml:"schedule"`
	// Sources are the addresses to be warmed up. Blank: all that mail of this upstream
	// leaves from.
	Sources []netip.Addr `toml:"sources"`
	// Providers are the groups of receivers that it concerns. Blank: all, "other" among
	// them.
	Providers []string `toml:"providers"`
	// Overflow is what becomes of mail that does not fit: "defer" (450 with the time), or
	// the name of a stream by whose addresses it leaves instead. Default: defer.
	Overflow string `toml:"overflow"`
}

// SetDefaults fills in what the documentation promises.
func (c *Config) SetDefaults() { *c = Config{Schedule: schedules["standard"], Overflow: Defer} }

// Check reports every problem of the table by itself.
func (c *Config) Check(report func(key, problem string)) {
	if len(c.Schedule) == 0 || len(c.Schedule) > maxSteps {
		report("schedule", fmt.Sprintf("has %d steps; write 1 to %d, or leave it out for the standard one", len(c.Schedule), maxSteps))
	}
	for i, n := range c.Schedule {
		switch {
		case n < 1 || n > maxStep:
			report("schedule."+strconv.Itoa(i), fmt.Sprintf("%d is not a number of messages from 1 to %d; correct it", n, int64(maxStep)))
		case i > 0 && n < c.Schedule[i-1]:
			report("schedule."+strconv.Itoa(i), fmt.Sprintf("%d is less than the step before it; let the numbers grow", n))
		}
	}
	if c.Overflow == "" {
		report("overflow", `is blank; write "defer" or the name of a stream`)
	}
}

// warms reports whether an address is warmed up at a group.
func (c *Config) warms(source netip.Addr, group string) bool {
	return (len(c.Sources) == 0 || slices.Contains(c.Sources, source)) && (len(c.Providers) == 0 || slices.Contains(c.Providers, group))
}
