package node

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/smtptest"
	"postern/mail"
	"postern/outlier/learn"
)

// TestLimitsOnStrangersHoldByTheJournal: with twenty days in a journal that was set aside
// and packed, a client that the watch has never seen has a past at once.
func TestLimitsOnStrangersHoldByTheJournal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	text := fmt.Sprintf(observedConfig, smtptest.Start(t, smtptest.Options{}).Addr(), "") +
		"[limit.new]\nper = \"client\"\nstrangers = [\"30/1h\"]\n[journal]\nfile = \"mail.jsonl\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	oldJournal(t, file.Journal.File)
	n, err := New(file, Options{Log: io.Discard})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop(t.Context())
	if watched, _ := n.past("corporate", "", "a@example.org"); watched {
		t.Fatal("a client whom nobody knows is watched")
	}
	o := n.learning(file)
	now := time.Now()
	o.Now = func() time.Time { return now }
	k := learn.New(o)
	now = now.Add(2 * time.Minute)
	k.Tick(t.Context())
	if watched, _ := n.past("corporate", "", "a@example.org"); !watched {
		t.Error("the journal was not read")
	}
	for name, want := range map[mail.RecipientID]bool{"day20@dest.example": false, "day0@dest.example": false, "new@dest.example": true} {
		if got, _ := n.watch.Stranger("corporate", "a@example.org", name); got != want {
			t.Errorf("%s is a stranger: %v", name, got)
		}
	}
}

// oldJournal writes twenty days: ten that logrotate has packed, and the rest.
func oldJournal(t *testing.T, name string) {
	var text, packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for ago := 20; ago >= 0; ago-- {
		b, err := json.Marshal(&mail.Event{Time: time.Now().AddDate(0, 0, -ago), Client: "corporate", From: "a@example.org", Outcome: mail.Relayed,
			To: []mail.RecipientEvent{{Address: fmt.Sprintf("day%d@dest.example", ago), Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}})
		if err != nil {
			t.Fatal(err)
		}
		var out io.Writer = &text
		if ago > 10 {
			out = z
		}
		fmt.Fprintf(out, "%s\n", b)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	old := name + ".1.gz"
	for name, b := range map[string][]byte{old: packed.Bytes(), name: text.Bytes()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().AddDate(0, 0, -10)); err != nil {
		t.Fatal(err)
	}
}
