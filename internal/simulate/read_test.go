package simulate

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

// second is a moment of the tests.
func second(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }

// lines are events named by their second.
func lines(t testing.TB, seconds ...int) string {
	var b strings.Builder
	for _, n := range seconds {
		b.Write(marshal(t, &mail.Event{Time: second(n), Client: "shop", From: fmt.Sprintf("s%d@example.org", n), To: []mail.RecipientEvent{}}))
		b.WriteByte('\n')
	}
	return b.String()
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		text = b.String()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read lists the seconds of what Read gives.
func read(files []string, stdin string) (seconds []int, err error) {
	_, err = Read(files, strings.NewReader(stdin), func(t *Transaction) error {
		seconds = append(seconds, int(moment(t.Time).Sub(start)/time.Second))
		return nil
	})
	return seconds, err
}

func TestReadMergesFilesByTime(t *testing.T) {
	files := []string{
		writeFile(t, "b.jsonl", lines(t, 4, 6, 9)),
		writeFile(t, "a.jsonl.gz", lines(t, 1, 2, 5, 7)),
		writeFile(t, "empty.jsonl", "\n"),
		"-",
	}
	got, err := read(files, lines(t, 3, 8))
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
}

func TestReadKeepsTheOrderOfManyBlocks(t *testing.T) {
	var all []int
	for i := range 5000 {
		all = append(all, i)
	}
	long := strings.Replace(lines(t, 5000), `"helo":""`, `"helo":"`+strings.Repeat("x", blockSize+1000)+`"`, 1)
	got, err := read([]string{writeFile(t, "a.jsonl", lines(t, all...)+long)}, "")
	if err != nil || !slices.Equal(got, append(all, 5000)) {
		t.Errorf("%d lines, %v", len(got), err)
	}
}

func TestReadOnBrokenLines(t *testing.T) {
	for name, row := range map[string]struct {
		text  string
		lines int
		wrong int    // lines that are passed over
		want  string // of the error, or of the first of these
	}{
		"a last line that a crash cut off":    {lines(t, 1, 2) + `{"time":"2026-`, 2, 0, ""},
		"the same with an end and empty ones": {lines(t, 1, 2) + "{\"time\":\"2026-\n\n \n", 2, 0, ""},
		"a broken line between others":        {lines(t, 1) + "{\n" + lines(t, 2), 2, 1, "a.jsonl:2: not a journal line"},
		"two broken lines":                    {lines(t, 1) + "{\n{\n", 1, 1, "a.jsonl:2: not a journal line"},
		"a broken first line":                 {"{\n" + lines(t, 1), 1, 1, "a.jsonl:1: not a journal line"},
		"nothing but a cut-off line":          {"{", 0, 0, ""},
		"broken lines at the ends of blocks":  {strings.Repeat(lines(t, 1)+strings.Repeat("x", blockSize)+"\n", 5) + lines(t, 2), 6, 5, "a.jsonl:2: not a journal line"},
		"a line over the bound":               {lines(t, 1) + `{"helo":"` + strings.Repeat("x", maxLine+blockSize*2) + `"}` + "\n", 1, 0, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0
			d, err := Read([]string{writeFile(t, "a.jsonl", row.text)}, nil, func(*Transaction) error { got++; return nil })
			if got != row.lines || d.Lines != row.wrong || err == nil && d.Events != got {
				t.Errorf("%d lines, want %d, and %+v", got, row.lines, d)
			}
			if d.Lines > 0 {
				err = d.Places[0]
			}
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func TestReadEndsEarly(t *testing.T) {
	// More than may wait for a replay that has ended.
	text := strings.Repeat(strings.Replace(lines(t, 1), `"helo":""`, `"helo":"`+strings.Repeat("x", blockSize/2)+`"`, 1), 8*blocksAhead)
	file := writeFile(t, "a.jsonl", text)
	stop := errors.New("enough")
	if _, err := Read([]string{file, file}, nil, func(*Transaction) error { return stop }); err != stop {
		t.Errorf("error %v", err)
	}
	if _, err := Read([]string{file + ".missing"}, nil, func(*Transaction) error { return nil }); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	cut := writeFile(t, "b.jsonl.gz", lines(t, 1, 2, 3))
	packed, _ := os.ReadFile(cut)
	os.WriteFile(cut, packed[:len(packed)-20], 0o600)
	if _, err := read([]string{cut}, ""); err == nil {
		t.Error("a packed file that is cut off was taken for whole")
	}
}

func TestQueueBringsTransactionsInOrder(t *testing.T) {
	var q queue
	at := func(begin, end int) *Transaction {
		return &Transaction{Time: second(begin).UnixNano(), End: second(end).UnixNano()}
	}
	for _, x := range []*Transaction{at(5, 6), at(7, 8), at(1, 60), at(2, 300)} {
		q.push(x)
		if got := q.pop(false); got != nil {
			t.Fatalf("%v came too early", got)
		}
	}
	q.push(at(700, 701))
	var got []int
	for {
		x := q.pop(len(got) > 3)
		if x == nil {
			break
		}
		got = append(got, int(moment(x.Time).Sub(start)/time.Second))
	}
	if want := []int{1, 2, 5, 7, 700}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
