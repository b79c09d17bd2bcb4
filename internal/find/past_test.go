package find

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// TestPastIsReadInOrder: what logrotate has set aside comes first, and a line that is
// damaged costs itself alone.
func TestPastIsReadInOrder(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal.jsonl")
	for name, text := range map[string]string{
		journal + ".1": `{"id":"a"}` + "\n" + `{"id":"b` + "\n" + `{"id":"c"}` + "\n",
		journal:        `{"id":"d"}` + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(journal+".1", time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	var ids []string
	skipped, err := Past(journal, func(e *mail.Event) error {
		ids = append(ids, e.ID)
		return nil
	})
	if got := strings.Join(ids, ""); got != "acd" || skipped != 1 || err != nil {
		t.Errorf("read %q, passed over %d, %v", got, skipped, err)
	}
}
