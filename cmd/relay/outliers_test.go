package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/mail"
)

// outliers runs the verb and gives its exit status and what it wrote.
func outliers(in string, args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = run(cli.IO{In: strings.NewReader(in), Out: &o, Err: &e}, append([]string{"outliers"}, args...))
	return status, o.String(), e.String()
}

// burst is n messages to new recipients within so many seconds.
func burst(at int64, n int, seconds int64) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d a@x.example shop 1 r%d-%d 0\n", at+int64(i)*seconds/int64(n), at, i)
	}
	return b.String()
}

func TestReplayAnswersEachLine(t *testing.T) {
	in := burst(1_700_000_000, 100, 600)
	status, out, errs := outliers(in, "replay")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if status != cli.OK || errs != "" || len(lines) != 100 {
		t.Fatalf("status %d, %d lines, errors %q", status, len(lines), errs)
	}
	if lines[0] != "ok" || !strings.HasPrefix(lines[99], "alarm ") {
		t.Errorf("first %q, last %q; want ok and an alarm", lines[0], lines[99])
	}
	if _, again, _ := outliers(in, "replay"); again != out {
		t.Error("the same input gave another output")
	}
}

func TestReplayTakesItsSettingsFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.toml")
	if err := os.WriteFile(file, []byte("[outlier]\nexempt_senders = [\"a@x.example\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := outliers(burst(1_700_000_000, 100, 600), "replay", "-config", file)
	if status != cli.OK || strings.Contains(out, "alarm") {
		t.Errorf("status %d, %q: an exempt sender raised an alarm", status, errs)
	}
	os.WriteFile(file, []byte("[outlier]\nsensitivity = 100.0\n"), 0o600)
	if status, _, errs := outliers("", "replay", "-config", file); status != cli.Usage || !strings.Contains(errs, "outlier.sensitivity") {
		t.Errorf("status %d, %q for a bad setting", status, errs)
	}
}

func TestReplayRefusesBadLinesWithTheirNumber(t *testing.T) {
	good := "1700000000 a shop 1 r 0\n"
	for name, bad := range map[string]string{
		"five fields":           "1700000000 a shop 1 r\n",
		"two spaces":            "1700000000 a  shop 1 r 0\n",
		"no time":               "now a shop 1 r 0\n",
		"a time before 1970":    "-1 a shop 1 r 0\n",
		"going back in time":    "1699999999 a shop 1 r 0\n",
		"another number":        "1700000000 a shop 2 r 0\n",
		"an empty recipient":    "1700000000 a shop 2 r, 0\n",
		"more refused than all": "1700000000 a shop 1 r 2\n",
		"an empty line":         "\n",
		"a carriage return":     "1700000000 a shop 1 r 0\r\n",
		"nine fields":           "1700000000 a shop 1 r 0 - - -\n",
		"no network":            "1700000000 a shop 1 r 0 office\n",
		"an unknown flag":       "1700000000 a shop 1 r 0 - new,evil\n",
	} {
		status, out, errs := outliers(good+bad+good, "replay")
		if status != cli.Fault || out != "ok\n" || !strings.Contains(errs, "line 2: ") {
			t.Errorf("%s: status %d, out %q, errors %q", name, status, out, errs)
		}
	}
}

// TestReplayTakesNetworksAndFlags: a burst from a network that is new is an alarm
// sooner, so is one that is flagged so, and three networks are one by themselves.
func TestReplayTakesNetworksAndFlags(t *testing.T) {
	const day = 24 * 3600
	lines := func(more func(i int) string) string {
		var b strings.Builder
		at := 1_700_000_000
		for d := range 40 {
			for i := range 12 {
				fmt.Fprintf(&b, "%d a shop 1 r%d 0 192.0.2.7\n", at+d*day+i*600, i)
			}
		}
		for i := range 60 {
			fmt.Fprintf(&b, "%d a shop 1 new%d 0 %s\n", at+40*day+i*20, i, more(i))
		}
		return b.String()
	}
	first := func(more func(i int) string) int {
		status, out, errs := outliers(lines(more), "replay")
		if status != cli.OK {
			t.Fatalf("status %d, %s", status, errs)
		}
		for i, line := range strings.Split(out, "\n")[480:] {
			if strings.HasPrefix(line, "alarm ") {
				return i
			}
		}
		return 60
	}
	always := func(s string) func(int) string { return func(int) string { return s } }
	home := first(always("192.0.2.9"))
	for _, more := range []string{"203.0.113.7", "203.0.113.0/24 -", "192.0.2.9 new", "- new,name", "192.0.2.9 listed", "192.0.2.9 spam"} {
		if n := first(always(more)); n >= home {
			t.Errorf("%s: after %d messages, at home after %d", more, n, home)
		}
	}
	if n := first(func(i int) string { return fmt.Sprintf("203.0.%d.7", i) }); n != 2 {
		t.Errorf("three networks: after %d messages", n)
	}
}

// TestMeasureKnowsSystems: with a table, a phone that changes its network is at home.
func TestMeasureKnowsSystems(t *testing.T) {
	dir := t.TempDir()
	journal, table := filepath.Join(dir, "j.jsonl"), filepath.Join(dir, "as.tsv")
	f, err := os.Create(journal)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for i := range 20 {
		json.NewEncoder(f).Encode(&mail.Event{Time: begin.AddDate(0, 0, i), Client: "shop", User: "anna", ClientIP: fmt.Sprintf("100.64.%d.7", i), Outcome: mail.Relayed})
	}
	f.Close()
	if err := os.WriteFile(table, []byte("100.64.0.0\t100.64.255.255\t64500\tDE\tPHONES\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, _ := outliers("", "measure", "-journal", journal)
	if !strings.Contains(out, "100.00 % of these days with a network that is new") || !strings.Contains(out, "evidence = 0.25 fits") {
		t.Error(out)
	}
	status, out, errs := outliers("", "measure", "-as-table", table, "-journal", journal)
	if status != cli.OK || !strings.Contains(out, "  0.00 % of these days with a network that is new") {
		t.Error(status, out, errs)
	}
	if status, _, errs = outliers("", "measure", "-as-table", journal, "-journal", journal); status != cli.Usage || !strings.Contains(errs, "line 1: ") {
		t.Error(status, errs)
	}
}

func TestBacktestTellsWhatWouldHaveBeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "j.jsonl")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for i := range 300 {
		json.NewEncoder(f).Encode(&mail.Event{
			Time: begin.Add(time.Duration(i) * time.Second), Client: "shop", From: "a@x.example", Outcome: mail.Relayed,
			To: []mail.RecipientEvent{{Address: fmt.Sprint(i, "@y.example"), Outcome: mail.Relayed, Rule: "upstream", Code: 250}},
		})
	}
	f.Close()
	status, out, errs := outliers("", "backtest", "-journal", file)
	if status != cli.OK || errs != "" {
		t.Fatalf("status %d, %q", status, errs)
	}
	for _, want := range []string{"sender a@x.example: throttle after normal", "300 transactions from 2026-03-02T09:00:00Z"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, " 0 transactions (0.00 %) deferred") {
		t.Errorf("nothing would have been deferred:\n%s", out)
	}
}

// TestBacktestLeavesOutWrongClocks: of a start without a battery, and of a year that is yet to come.
func TestBacktestLeavesOutWrongClocks(t *testing.T) {
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	line := func(at time.Time, i int) string {
		b, err := json.Marshal(&mail.Event{Time: at, Client: "shop", From: "a@x.example", Outcome: mail.Relayed,
			To: []mail.RecipientEvent{{Address: fmt.Sprint(i, "@y.example"), Outcome: mail.Relayed, Rule: "upstream", Code: 250}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	var right, wrong strings.Builder
	wrong.WriteString(line(time.Unix(60, 0), 1000) + line(time.Unix(90, 0), 1001))
	for i := range 300 {
		l := line(begin.Add(time.Duration(i)*time.Second), i)
		right.WriteString(l)
		wrong.WriteString(l)
		if i == 20 {
			wrong.WriteString(line(time.Date(2103, 1, 1, 0, 0, 0, 0, time.UTC), 1002) + line(time.Unix(-5, 0), 1003) + line(time.Unix(70, 0), 1004))
		}
	}
	wrong.WriteString(line(time.Unix(80, 0), 1005))
	_, want, _ := outliers(right.String(), "backtest", "-journal", "-")
	status, out, errs := outliers(wrong.String(), "backtest", "-journal", "-")
	if status != cli.OK || out != want || !strings.Contains(out, "300 transactions from 2026-03-02T09:00:00Z to 2026-03-02T09:04:59Z") {
		t.Errorf("status %d:\n%s\nwithout wrong clocks:\n%s", status, out, want)
	}
	if !strings.Contains(errs, "left out 6 transactions with the time of a clock that was wrong, or before a silence of over 60 days") {
		t.Error(errs)
	}
}

// TestTuneSaysWhatAlarmsBuy: from a journal of seven weeks of 15 users, and from one that
// is too short.
func TestTuneSaysWhatAlarmsBuy(t *testing.T) {
	journal := func(days int) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		for d := range days {
			for u := range 15 {
				for i := range 3 {
					at := time.Date(2026, 3, 1+d, 9, u, i, 0, time.UTC)
					user := fmt.Sprintf("u%d", u)
					e.Encode(mail.Event{Time: at, Client: "mta", ClientIP: "192.0.2.1", User: user, From: user + "@x.example", Outcome: mail.Relayed,
						To: []mail.RecipientEvent{{Address: fmt.Sprintf("r%d-%d@y.example", u, d*i), Outcome: mail.Relayed, Rule: "upstream"}}})
				}
			}
		}
		return b.String()
	}
	status, out, errs := outliers(journal(50), "tune", "-journal", "-", "-accept", "7/year")
	for _, want := range []string{"2250 messages from 2026-03-01 to 2026-04-19", "burst elsewhere", `false_alarms = "7/year" asks for a sensitivity of`, "messages out at the median"} {
		if status != cli.OK || !strings.Contains(out, want) {
			t.Errorf("status %d, %q is missing in:\n%s%s", status, want, out, errs)
		}
	}
	if status, out, _ := outliers(journal(30), "tune", "-journal", "-"); status != cli.OK || !strings.Contains(out, "too short to go by") || !strings.Contains(out, "2026-04-04") {
		t.Errorf("status %d, of 30 days: %s", status, out)
	}
	if status, out, _ := outliers("", "tune", "-journal", "-"); status != cli.OK || !strings.Contains(out, "no mail") {
		t.Errorf("status %d, of nothing: %s", status, out)
	}
	if status, out, errs := outliers(journal(40), "tune", "-json", "-journal", "-"); status != cli.OK || !json.Valid([]byte(out)) {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	if status, _, errs := outliers("", "tune", "-journal", "-", "-accept", "20"); status != cli.Usage || !strings.Contains(errs, "20/year") {
		t.Errorf("status %d: %s", status, errs)
	}
	if status, _, errs := outliers("{\n{}\n", "tune", "-journal", "-"); status != cli.OK && status != cli.Fault {
		t.Errorf("status %d: %s", status, errs)
	}
}
