package eventlog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

// put writes a file of a journal; one whose name ends in .gz is packed, cut octets short.
func put(t *testing.T, name, text string, cut int) string {
	t.Helper()
	b := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		b = z.Bytes()
	}
	if err := os.WriteFile(name, b[:len(b)-cut], 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSkimPassesOverWhatIsNoEvent: rotated and packed files, and hostile lines.
func TestSkimPassesOverWhatIsNoEvent(t *testing.T) {
	dir := t.TempDir()
	files := []string{
		put(t, filepath.Join(dir, "j.3.gz"), `{"id":"packed"}`+"\n", 0),
		put(t, filepath.Join(dir, "j.2.gz"), `{"id":"cut"}`+"\n", 5),
		put(t, filepath.Join(dir, "j.1"), "{\"id\":\"old\"}\n{\"id\":7}\nnothing\n\x00\x00\n{\"id\":\"half\n"+
			`{"id":"`+strings.Repeat("x", maxLine)+"\"}\n"+`{"id":"a\",\"id\":\"b"}`+"\n", 0),
		filepath.Join(dir, "j.0"), // gone
		put(t, filepath.Join(dir, "j"), "{\"id\":\"new\"}\r\n{\"id\":\"last\"}", 0),
	}
	put(t, files[3], "", 0)
	var got []string
	skipped, err := Skim(files, func(ev *mail.Event) error {
		if len(got) == 0 {
			os.Remove(files[3])
		}
		got = append(got, ev.ID)
		return nil
	})
	want := []string{"packed", "cut", "old", `a","id":"b`, "new", "last"}
	if err != nil || !slices.Equal(got, want) || skipped != 5 {
		t.Errorf("got %q, passed over %d, %v", got, skipped, err)
	}
}

// TestSkimSaysWhenFilesWereRenamed: the newest file is read under any name, and another
// in the place of an older one is told.
func TestSkimSaysWhenFilesWereRenamed(t *testing.T) {
	dir := t.TempDir()
	oldest, old, newest := filepath.Join(dir, "j.2"), filepath.Join(dir, "j.1"), filepath.Join(dir, "j")
	put(t, oldest, `{"id":"oldest"}`, 0)
	put(t, old, `{"id":"old"}`, 0)
	put(t, newest, `{"id":"new"}`, 0)
	var got []string
	_, err := Skim([]string{oldest, newest}, func(ev *mail.Event) error {
		if ev.ID == "oldest" {
			os.Rename(newest, filepath.Join(dir, "j.20261130T120000.000000Z"))
			put(t, newest, `{"id":"later"}`, 0)
		}
		got = append(got, ev.ID)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"oldest", "new"}) {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = Skim([]string{oldest, old, newest}, func(*mail.Event) error { return os.Rename(old, oldest) })
	if !errors.Is(err, errTurnedOver) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("renamed: %v", err)
	}
}

// TestSkimTakesFilesOnly: a folder is no journal, and none is none.
func TestSkimTakesFilesOnly(t *testing.T) {
	none := func(*mail.Event) error { return errors.New("an event of nothing") }
	if _, err := Skim(nil, none); err != nil {
		t.Error(err)
	}
	if _, err := Skim([]string{t.TempDir()}, none); err == nil {
		t.Error("a folder was read")
	}
}
