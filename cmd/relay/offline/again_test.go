package offline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/find"
	"postern/mail"
)

// TestWhatIsWrittenAMomentLaterIsFound: a search that finds nothing looks again once the
// relay has had time to write, and only then says that there is nothing.
func TestWhatIsWrittenAMomentLaterIsFound(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "j.jsonl")
	write := func(id string) {
		t.Helper()
		line, err := json.Marshal(&mail.Event{ID: id, To: []mail.RecipientEvent{{Address: "b@dest.example"}}})
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	search := func(id string, waits *int, wait func()) (found bool, err error) {
		err = lookAgain(func() (bool, error) {
			_, err := searchAll(t.Context(), []string{journal}, find.Query{QueueID: id}, func([]byte, *mail.Event) error {
				found = true
				return nil
			})
			return found, err
		}, func() { *waits++; wait() })
		return found, err
	}
	for _, c := range []struct {
		name, id string
		wait     func()
		found    bool
		waits    int
	}{
		{"what is there", "old", func() {}, true, 0},
		{"what comes a moment later", "new", func() { write("new") }, true, 1},
		{"what never comes", "none", func() {}, false, 1},
	} {
		waits := 0
		if found, err := search(c.id, &waits, c.wait); err != nil || found != c.found || waits != c.waits {
			t.Errorf("%s: found %v after %d waits, %v", c.name, found, waits, err)
		}
	}
	fault := errors.New("fault")
	if err := lookAgain(func() (bool, error) { return false, fault }, func() { t.Error("it waits after a fault") }); !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
}
