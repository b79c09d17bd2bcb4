package find

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

var begin = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

// event is the n-th of a journal: one each second.
func event(n int) *mail.Event {
	e := &mail.Event{
		Time: begin.Add(time.Duration(n) * time.Second), Duration: 3 * time.Millisecond, ID: fmt.Sprintf("06h%015d", n), Client: "corporate", ClientIP: "10.20.0.7",
		Listener: "mta", Helo: "mail.example.org", Stream: "main", From: fmt.Sprintf("user%d@example.org", n%997), MessageID: fmt.Sprintf("<%d.abc@mail.example.org>", n),
		To:   []mail.RecipientEvent{{Address: fmt.Sprintf("r%d@dest%d.example", n, n%50), Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Reply: fmt.Sprintf("2.0.0 Ok: queued as 4Q%dZ", n)}},
		Size: 2048, Stage: mail.StageForward, Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "provider", Reply: fmt.Sprintf("250 2.0.0 Ok: queued as 4Q%dZ", n),
	}
	if n%1000 == 3 {
		e.Outcome, e.Code, e.Status, e.Class = mail.Rejected, 550, "5.7.1", mail.ClassListedIP
		e.To[0].Outcome, e.To[0].Code, e.To[0].Status, e.To[0].Class = mail.Rejected, 550, "5.7.1", mail.ClassListedIP
	}
	return e
}

func journal(t testing.TB, name string, from, to int, more ...*mail.Event) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for n := from; n < to; n++ {
		enc.Encode(event(n))
	}
	for _, e := range more {
		enc.Encode(e)
	}
	write(t, name, b.Bytes())
	return name
}

func write(t testing.TB, name string, text []byte) {
	t.Helper()
	if strings.HasSuffix(name, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(text)
		w.Close()
		text = z.Bytes()
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// found are the ids of the hits, in their order.
func found(t testing.TB, files []string, q Query) (ids []string) {
	t.Helper()
	_, err := Search(context.Background(), files, q, func(line []byte, e *mail.Event) error {
		ids = append(ids, strings.TrimLeft(strings.TrimPrefix(e.ID, "06h"), "0"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestWhatIsAskedForIsFound(t *testing.T) {
	dir := t.TempDir()
	odd := event(9001)
	odd.From, odd.MessageID = `"a<b&c"@example.org`, "<x&y<z>@w>"
	odd.To = append(odd.To, mail.RecipientEvent{Address: "Éva@xn--bcher-kva.example", Outcome: mail.Deferred, Code: 450, Status: "4.7.1", Rule: "limit sender"})
	null := event(9002)
	null.From = "<>"
	for _, ext := range []string{"", ".gz"} {
		files := []string{journal(t, filepath.Join(dir, "j2"+ext), 3000, 5000, odd, null), journal(t, filepath.Join(dir, "j1"+ext), 1, 3000)}
		for _, c := range []struct {
			name string
			q    Query
			want string
		}{
			{"a recipient", Query{To: "r4321@dest21.example"}, "4321"},
			{"in another case", Query{To: "R4321@Dest21.Example"}, "4321"},
			{"in angle brackets", Query{To: "<r4321@dest21.example>"}, "4321"},
			{"who only begins so", Query{To: "r432@dest21.example"}, ""},
			{"a domain of recipients and a time", Query{To: "@dest21.example", Since: begin.Add(4900 * time.Second)}, "4971 4921"},
			{"a sender, newest first, over both files", Query{From: "user5@example.org"}, "4990 3993 2996 1999 1002 5"},
			{"sender and recipient", Query{From: "user5@example.org", To: "r1999@dest49.example"}, "1999"},
			{"sender and another's recipient", Query{From: "user5@example.org", To: "r2000@dest0.example"}, ""},
			{"a Message-ID", Query{MessageID: "<1234.abc@mail.example.org>"}, "1234"},
			{"without brackets", Query{MessageID: "1234.abc@mail.example.org"}, "1234"},
			{"a part of one", Query{MessageID: "234.abc@mail.example.org"}, "234"},
			{"with octets that JSON escapes", Query{MessageID: "<x&y<z>@w>"}, "9001"},
			{"a queue id", Query{QueueID: "4Q77Z"}, "77"},
			{"a part of a queue id", Query{QueueID: "4Q77"}, ""},
			{"our own id", Query{QueueID: event(88).ID}, "88"},
			{"a code", Query{Code: "550"}, "4003 3003 2003 1003 3"},
			{"an enhanced code", Query{Code: "5.7.1", Until: begin.Add(1500 * time.Second)}, "1003 3"},
			{"a class of codes of a recipient", Query{Code: "4xx"}, "9001"},
			{"a class of refusals", Query{Class: mail.ClassListedIP, Since: begin.Add(4000 * time.Second)}, "4003"},
			{"a quoted sender", Query{From: `"a<b&c"@example.org`}, "9001"},
			{"a recipient in UTF-8, in another case", Query{To: "éva@xn--bcher-kva.example"}, "9001"},
			{"the null reverse-path", Query{From: "<>"}, "9002"},
			{"a time", Query{Since: begin.Add(4998 * time.Second), Until: begin.Add(4999 * time.Second)}, "4999 4998"},
			{"an old time", Query{Until: begin.Add(2 * time.Second)}, "2 1"},
			{"nobody", Query{To: "nobody@example.net"}, ""},
		} {
			if got := strings.Join(found(t, files, c.q), " "); got != c.want {
				t.Errorf("%s%s: %q, want %q", c.name, ext, got, c.want)
			}
		}
	}
}

func TestQueriesThatCannotBeMeant(t *testing.T) {
	for _, q := range []Query{{}, {Code: "55"}, {Code: "abc"}, {Code: "6xx"}, {Code: "5.7"}} {
		if _, err := Search(context.Background(), nil, q, nil); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}

// TestEveryLineIsSeenOnce, wherever blocks end, with lines longer than a block, one
// without end, NULs of a power failure, a torn last line, and what is not an event.
func TestEveryLineIsSeenOnce(t *testing.T) {
	var b bytes.Buffer
	want := 0
	line := func(n, size int) {
		e := event(n)
		e.Err = strings.Repeat("x", size)
		json.NewEncoder(&b).Encode(e)
		want++
	}
	for n := range 3000 {
		line(n, n%2000)
	}
	b.WriteString("\x00\x00\x00")
	line(3000, 10)
	b.WriteString("not an event with \"id\":\n\n")
	line(3001, 2<<20)
	line(3002, 3<<20)
	b.WriteString(`{"id":"` + strings.Repeat("y", 12<<20) + "\n") // over the bound
	line(3003, 1)
	torn, _ := json.Marshal(event(3004))
	b.Write(torn[:len(torn)-5])
	for _, name := range []string{"j", "j.gz"} {
		name = filepath.Join(t.TempDir(), name)
		write(t, name, b.Bytes())
		got := 0
		last := ""
		stats, err := Search(context.Background(), []string{name}, Query{Code: "250"}, func(_ []byte, e *mail.Event) error {
			if last != "" && e.ID >= last {
				t.Fatalf("%s behind %s", e.ID, last)
			}
			last = e.ID
			got++
			return nil
		})
		if err != nil || got != want-4 { // four were refused
			t.Errorf("%s: %d of %d, %v, %+v", name, got, want, err, stats)
		}
	}
}

// TestClockThatWasWrongHidesNothing: a machine that started with a clock of 1970 has left
// lines of then between those of yesterday and those of today, and in a file of its own.
func TestClockThatWasWrongHidesNothing(t *testing.T) {
	const each = 1500
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	add := func(from, to int, ago time.Duration) {
		for n := from; n < to; n++ {
			e := event(n)
			e.Time, e.Err = e.Time.Add(-ago), strings.Repeat("x", 600)
			enc.Encode(e)
		}
	}
	year := 365 * 24 * time.Hour
	add(0, 10*each, year) // long ago
	add(10*each, 11*each, 0)
	add(11*each, 12*each, 56*year)
	add(12*each, 13*each, 0)
	dir := t.TempDir()
	file, wrong, before := filepath.Join(dir, "j"), filepath.Join(dir, "j.2"), filepath.Join(dir, "j.1")
	write(t, file, b.Bytes())
	b.Reset()
	add(9*each-10, 9*each, 56*year)
	write(t, wrong, b.Bytes())
	b.Reset()
	add(9*each-20, 9*each-10, 0)
	write(t, before, b.Bytes())
	since := begin.Add(8 * each * time.Second)
	hits := 0
	stats, err := Search(context.Background(), []string{file, wrong, before}, Query{Since: since}, func(_ []byte, e *mail.Event) error {
		hits++
		return nil
	})
	if want := 2*each + 10; err != nil || hits != want {
		t.Errorf("%d hits, want %d, %v", hits, want, err)
	}
	if stats.Read > 8<<20 {
		t.Errorf("%d MiB were read, of which most are of long ago", stats.Read>>20)
	}
}

func TestFilesAreThoseOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour)
	for _, name := range []string{"journal.jsonl.20261130T120000.000000Z", "journal.jsonl.2.gz", "journal.jsonl-20261101.gz", "journal.jsonl.1", "journal.jsonl", // newest last
		"journal.jsonl.new", "journal.jsonl.damaged-20261130T120000Z", "journal.jsonlx", "other.jsonl", "journal.json"} {
		write(t, filepath.Join(dir, name), nil)
		at = at.Add(time.Minute)
		os.Chtimes(filepath.Join(dir, name), at, at)
	}
	files, err := Files(filepath.Join(dir, "journal.jsonl"))
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	want := []string{"journal.jsonl", "journal.jsonl.1", "journal.jsonl-20261101.gz", "journal.jsonl.2.gz", "journal.jsonl.20261130T120000.000000Z"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v", files, err)
	}
	// One that was renamed between the listing and its turn is not searched twice.
	journal(t, filepath.Join(dir, "journal.jsonl"), 1, 10)
	os.Link(filepath.Join(dir, "journal.jsonl"), filepath.Join(dir, "journal.jsonl.3"))
	if got := found(t, []string{filepath.Join(dir, "journal.jsonl"), filepath.Join(dir, "journal.jsonl.3"), filepath.Join(dir, "gone")}, Query{QueueID: "4Q7Z"}); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestASearchEndsWhenItIsToldTo(t *testing.T) {
	name := journal(t, filepath.Join(t.TempDir(), "j"), 1, 20_000)
	n := 0
	if _, err := Search(context.Background(), []string{name}, Query{Code: "250"}, func([]byte, *mail.Event) error {
		if n++; n == 5 {
			return ErrEnough
		}
		return nil
	}); err != nil || n != 5 {
		t.Errorf("%d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Search(ctx, []string{name}, Query{Code: "250"}, func([]byte, *mail.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestMemoryIsBounded: all lines of a packed journal are hits.
func TestMemoryIsBounded(t *testing.T) {
	name := journal(t, filepath.Join(t.TempDir(), "j.gz"), 1, 100_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	hits, most := 0, uint64(0)
	stats, err := Search(context.Background(), []string{name}, Query{Code: "250"}, func([]byte, *mail.Event) error {
		if hits++; hits%5000 == 1 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc-before.HeapAlloc)
		}
		return nil
	})
	if err != nil || len(stats.Cut) != 1 || hits < 10_000 || most > 48<<20 {
		t.Errorf("%v, cut %q, %d hits, %d MiB", err, stats.Cut, hits, most>>20)
	}
}

// FuzzSearch: whatever lies in the files, the octets that are looked for first never hide
// what decoding would find.
func FuzzSearch(f *testing.F) {
	line, _ := json.Marshal(event(3))
	f.Add(append(line, '\n'), "user3@example.org", "r3@dest3.example", "550", "4Q3Z")
	f.Add([]byte("{\"id\":\"x\",\"from\":\"\\u003c\\u003e\"}\n\x00"), "<>", "", "", "")
	f.Add([]byte(`{"id":"x","from":"\"a b\"@x","to":[{"address":"É@x"}]}`), `"a b"@x`, "é@x", "", "")
	f.Fuzz(func(t *testing.T, text []byte, from, to, code, queue string) {
		q := Query{From: from, To: to, Code: code, QueueID: queue}
		m, err := newMatcher(q)
		if err != nil {
			return
		}
		var want []string
		for line := range bytes.SplitSeq(text, []byte{'\n'}) {
			var e mail.Event
			if json.Unmarshal(trim(line), &e) != nil || !m.matches(&e) {
				continue
			}
			// As the journal writes it.
			again, err := json.Marshal(&e)
			if err != nil {
				continue
			}
			want = append(want, e.ID)
			if !m.mayMatch(again) {
				t.Errorf("%+v hides %s", q, again)
			}
		}
		name := filepath.Join(t.TempDir(), "j")
		os.WriteFile(name, text, 0o600)
		Search(context.Background(), []string{name}, q, func([]byte, *mail.Event) error { return nil })
	})
}

// BenchmarkMillion is a search in a million events, warm.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	var plain, packed []string
	for i := range 10 {
		p := journal(b, filepath.Join(dir, fmt.Sprint("j", i)), i*100_000, (i+1)*100_000)
		text, _ := os.ReadFile(p)
		write(b, p+".gz", text)
		plain, packed = append([]string{p}, plain...), append([]string{p + ".gz"}, packed...)
	}
	for _, c := range []struct {
		name  string
		files []string
		q     Query
	}{
		{"recipient", plain, Query{To: "r7@dest7.example"}}, {"sender", plain, Query{From: "user5@example.org"}}, {"common-domain-nobody", plain, Query{From: "nobody@example.org"}},
		{"queue-id", plain, Query{QueueID: "4Q7Z"}}, {"code", plain, Query{Code: "550"}}, {"message-id", plain, Query{MessageID: "7.abc@mail.example.org"}},
		{"gz-recipient", packed, Query{To: "r7@dest7.example"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				found(b, c.files, c.q)
			}
		})
	}
}

// TestWordsAreThoseOfTheRecipientsOwnDomain where no host of it took a transaction.
func TestWordsAreThoseOfTheRecipientsOwnDomain(t *testing.T) {
	e := &mail.Event{Outcome: mail.Relayed, Code: 250, Err: "c.example: 421 slow down", To: []mail.RecipientEvent{
		{Address: "x@b.example", Outcome: mail.Deferred, Code: 451, Status: "4.4.1", Rule: "mx"},
		{Address: "x@c.example", Outcome: mail.Deferred, Code: 451, Status: "4.4.1", Rule: "mx"},
	}, Unreached: []mail.Unreached{{Domain: "b.example", Err: "b.example: 554 listed"}, {Domain: "c.example", Err: "c.example: 421 slow down"}}}
	for to, want := range map[string]string{"x@b.example": "deferred 451 4.4.1 mx: b.example: 554 listed", "@c.example": "deferred 451 4.4.1 mx: c.example: 421 slow down"} {
		if got := Words(e, to); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
}
