package eventlog_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"postern/internal/eventlog"
	"postern/mail"
)

// A journal takes events, and gives them back in their order.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var cfg eventlog.Config
	cfg.SetDefaults()
	cfg.File = filepath.Join(dir, "journal.jsonl")

	journal := eventlog.Open(cfg, eventlog.Options{Log: slog.Default()})
	journal.Observe(&mail.Event{ID: "01k", From: "news@shop.example", Outcome: mail.Relayed})
	journal.Observe(&mail.Event{ID: "01m", From: "news@shop.example", Outcome: mail.Deferred, Rule: "limit sender"})
	if err := journal.Close(); err != nil {
		fmt.Println(err)
	}

	damage, err := eventlog.Read([]string{cfg.File}, nil, func(e *mail.Event) error {
		fmt.Printf("%s %s %q\n", e.ID, e.Outcome, e.Rule)
		return nil
	})
	fmt.Println(damage.Lines, "lines are damaged,", err)
	// Output:
	// 01k relayed ""
	// 01m deferred "limit sender"
	// 0 lines are damaged, <nil>
}
