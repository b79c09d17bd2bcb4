package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// TestCommandsPassOverDamageOfTheJournal: one damaged line does not keep an operator from
// the answer, who hears where it is and how much is missing. Of what is mostly no journal
// there is no answer.
func TestCommandsPassOverDamageOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	line := `{"time":"2026-11-01T10:00:0%d.5Z","ms":5,"id":"id%d","client":"crm","stream":"main","upstream":"up","from":"crm@example.org","outcome":"rejected","code":550,"status":"5.1.1","stage":"rcpt","rule":"upstream",` +
		`"to":[{"address":"b@dest.example","outcome":"rejected","code":550,"status":"5.1.1","reply":"no such user","rule":"upstream","class":"no-such-user"}]}` + "\n"
	good, bad, torn := filepath.Join(dir, "good.jsonl"), filepath.Join(dir, "bad.jsonl"), filepath.Join(dir, "torn.jsonl")
	writeFile(t, good, fmt.Sprintf(line, 1, 1)+"{\"id\":\"cut o\n"+fmt.Sprintf(line, 2, 2)+fmt.Sprintf(line, 3, 3))
	writeFile(t, bad, "Nov 30 10:00:00 host postfix: no journal\nsecond\n"+fmt.Sprintf(line, 1, 1)+"third\n\n")
	writeFile(t, torn, fmt.Sprintf(line, 1, 1)+fmt.Sprintf(line, 2, 2)+`{"id":"bei`)
	limits := filepath.Join(dir, "relay.toml")
	writeFile(t, limits, basic(smtptest.Start(t, smtptest.Options{}), "[limit.sender]\nper = \"sender\"\nmessages = [\"2/1h\"]\n"))
	for _, row := range []struct{ command, says string }{
		{"replies top", "no-such-user"}, {"incident crm@example.org -since 2026-11-01", "nothing has left"},
		{"outliers backtest", "3 transactions"}, {"outliers measure", ""}, {"outliers tune", "too short"}, {"listings suspects -at 2026-11-01T12:00:00Z", ""},
		{"simulate -config " + limits, "3 transactions"}, {"suggest", "[limit."},
	} {
		name := "relay " + strings.Join(strings.Fields(row.command)[:1], " ")
		status, out, errs := runVerb("", append(strings.Fields(row.command), "-journal", good)...)
		if status != cli.OK || !strings.Contains(out, row.says) {
			t.Errorf("%s: status %d, %s%s", row.command, status, out, errs)
		}
		if !strings.Contains(errs, good+":2: not a journal line: ") || !strings.Contains(errs, "passed over 1 damaged line; what it held is missing above") || !strings.Contains(errs, name) {
			t.Errorf("%s says %s", row.command, errs)
		}
		if status, out, errs := runVerb("", append(strings.Fields(row.command), "-journal", bad)...); status != cli.Fault || !strings.Contains(errs, "2 lines are not journal lines, and 1 is") || out != "" && !strings.HasPrefix(row.command, "outliers backtest") {
			t.Errorf("%s of another file: status %d, %s%s", row.command, status, out, errs)
		}
		if status, _, errs := runVerb("", append(strings.Fields(row.command), "-journal", torn)...); status != cli.OK || errs != "" {
			t.Errorf("%s while the relay writes: status %d, %s", row.command, status, errs)
		}
	}
	if status, _, errs := runVerb("", "explain", "id3", "-journal", good); status != cli.OK || errs != "" {
		t.Errorf("explain of what is there: status %d, %s", status, errs)
	}
	if status, _, errs := runVerb("", "explain", "id9", "-journal", good); status != cli.Fault || !strings.Contains(errs, "passed over 1 damaged line") || !strings.Contains(errs, "no transaction") {
		t.Errorf("explain of what may have stood there: status %d, %s", status, errs)
	}
	if _, out, _ := runVerb("", "incident", "crm@example.org", "-since", "2026-11-01", "-journal", good, "-json"); !strings.Contains(out, `"damaged_lines":1`) {
		t.Errorf("JSON says nothing of damage: %s", out)
	}
	list := filepath.Join(dir, "list.csv")
	if status, _, _ := runVerb("", "incident", "crm@example.org", "-since", "2026-11-01", "-journal", bad, "-list", list); status != cli.Fault {
		t.Errorf("a list of another file: status %d", status)
	}
	if _, err := os.Stat(list); err == nil {
		t.Error("a list was made of what is no journal")
	}
}
