package explain

import (
	"strings"
	"testing"
	"time"

	"postern/mail"
)

func TestExplainTellsWhatScannersSaid(t *testing.T) {
	words := Event(&mail.Event{Stage: mail.StageScan, Outcome: mail.Rejected, Code: 550, Rule: "scanner spam", Scans: []mail.ScanEvent{
		{Scanner: "av", Verdict: "cut", Took: 3 * time.Millisecond},
		{Scanner: "dlp", Verdict: "fault", Err: "no verdict within 20s", Unscanned: true},
		{Scanner: "new", Verdict: "virus", Text: "Own.Eicar", Shadow: true},
		{Scanner: "spam", Verdict: "spam", Text: "Gtube pattern", Score: 15, Symbols: []string{"GTUBE", "OTHER"}, Took: 4 * time.Millisecond},
	}})
	for _, want := range []string{
		"av: cut, 3 ms", "dlp: fault, 0 ms; the message went on unscanned; no verdict within 20s", "new: virus Own.Eicar, 0 ms; only watched",
		"spam: spam Gtube pattern, score 15.0, symbols GTUBE OTHER, 4 ms", "watch       counts as refused against its sender, user and client",
	} {
		if !strings.Contains(words, want+"\n") {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
}

func TestExplainTellsWhatWasWrittenAnew(t *testing.T) {
	words := Event(&mail.Event{Outcome: mail.Relayed, Rewritten: []string{"path", "from"}})
	if want := "forms       written anew for a lenient client: path, from\n"; !strings.Contains(words, want) {
		t.Errorf("no %q in\n%s", want, words)
	}
}

// TestExplainTellsTheWordsOfEachDomain where hosts of several took no transaction.
func TestExplainTellsTheWordsOfEachDomain(t *testing.T) {
	words := Event(&mail.Event{Outcome: mail.Deferred, Err: "the last", Unreached: []mail.Unreached{{Domain: "b.example", Err: "b.example: 554 listed"}, {Domain: "c.example", Err: "c.example: 421 slow down"}}})
	if want := "fault       b.example: 554 listed\nfault       c.example: 421 slow down\n"; !strings.Contains(words, want) || strings.Contains(words, "the last") {
		t.Errorf("no %q in\n%s", want, words)
	}
}
