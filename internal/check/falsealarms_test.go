package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/eventlog"
	"postern/reputation/identity"
)

func TestFalseAlarmsSaysUntilWhenTheDefaultHolds(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "j.jsonl")
	f := &config.File{Journal: eventlog.Config{File: journal}}
	f.Outlier.FalseAlarms = 20
	now := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	see := func(status identity.Status, words string) {
		t.Helper()
		if all := tryFalseAlarms(f, now); len(all) != 1 || all[0].Status != status || !strings.Contains(all[0].Seen, words) {
			t.Errorf("%+v, want %v and %q", all, status, words)
		}
	}
	see(identity.Warn, "for the first 34 days")
	write := func(times ...string) {
		t.Helper()
		lines := ""
		for _, at := range times {
			lines += `{"time":"` + at + `","client":"mta"}` + "\n"
		}
		if err := os.WriteFile(journal, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Of a clock that was wrong: before the others, among them, and in the future.
	const zero, seventy, ahead = "0001-01-01T00:00:00Z", "1970-01-01T00:05:00Z", "2099-01-01T00:00:00Z"
	write(ahead, zero)
	see(identity.Warn, "for the first 34 days")
	write("2026-03-01T08:00:00Z", seventy, "2026-03-02T08:00:00Z")
	see(identity.Warn, "until 2026-04-04")
	write(ahead, "2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z", ahead)
	see(identity.Warn, "until 2026-04-04")
	write(zero, seventy, "2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z")
	see(identity.Warn, "until 2026-04-04")
	now = now.AddDate(0, 1, 0)
	see(identity.Pass, "begins on 2026-03-01")
	f.Outlier.FalseAlarms = 0
	if all := tryFalseAlarms(f, now); all != nil {
		t.Errorf("without the key: %+v", all)
	}
}
