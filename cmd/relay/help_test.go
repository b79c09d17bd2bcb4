package main

import (
	"regexp"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

// TestHelpSaysHowEachCommandIsCalled: -h names what follows the flags and says what
// the command does, not only its flags.
func TestHelpSaysHowEachCommandIsCalled(t *testing.T) {
	lines := []string{"listings show", "listings zones", "listings resume", "listings findings", "listings suspects",
		"outliers replay", "outliers explain", "outliers measure", "outliers tune", "outliers backtest",
		"replies classify", "replies top", "replies unknown", "replies teach", "dkim keygen", "dkim record", "dkim rotate", "senders show"}
	group := regexp.MustCompile(`^usage: relay [a-z]+ ([a-z|]+) \[flags\]\n`)
	for _, v := range verbs {
		if v.name == "version" {
			continue
		}
		_, out, errs := runVerb("", v.name, "-h")
		if m := group.FindStringSubmatch(out); m != nil {
			for sub := range strings.SplitSeq(m[1], "|") {
				lines = append(lines, v.name+" "+sub)
			}
			continue
		}
		if helped := strings.HasPrefix(errs, "usage: relay "+v.name+" [flags]"); helped {
			lines = append(lines, v.name)
		} else if !strings.HasPrefix(out+errs, "usage: relay "+v.name+" ") {
			t.Errorf("relay %s -h: %s%s", v.name, out, errs)
		}
	}
	for _, line := range lines {
		status, _, errs := runVerb("", append(strings.Fields(line), "-h")...)
		if _, example, ok := strings.Cut(errs, "\nFor example: relay "); ok {
			example, _, _ = strings.Cut(example, "\n")
			if status, _, errs := runVerb("", append(words(example), "-h")...); status != cli.OK {
				t.Errorf("relay %s: status %d\n%s", example, status, errs)
			}
		}
		if what := strings.SplitN(errs, "\n", 4); status != cli.OK || !strings.HasPrefix(errs, "usage: relay "+line+" [flags]") || len(what) < 3 || what[2] == "" {
			t.Errorf("relay %s -h: status %d\n%s", line, status, errs)
		}
	}
	if _, _, errs := runVerb("", "suspend", "-h"); !strings.Contains(errs, "[flags] WHO\n") || strings.Index(errs, "-reason text") > strings.Index(errs, "-socket path") {
		t.Errorf("relay suspend -h:\n%s", errs)
	}
}
