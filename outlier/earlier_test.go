package outlier

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/redistest"
)

// asCounted writes each number of a text as the nearest float32, in which the watch counts:
// that build wrote the constant 2.99 as 2.990000009536743.
func asCounted(text string) string {
	return fraction.ReplaceAllStringFunc(text, func(number string) string {
		x, err := strconv.ParseFloat(number, 32)
		if err != nil {
			return number
		}
		return strconv.FormatFloat(x, 'g', -1, 32)
	})
}

var fraction = regexp.MustCompile(`\d+\.\d+`)

// unzipped is a file of testdata. Those of release-1 were written by the build of
// November 2026, on disk and in Redis, with what its commands showed of them then.
func unzipped(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// seen is everything that the commands show.
func (r *rig) seen() []byte {
	r.t.Helper()
	var all []any
	rows, _ := r.List(Query{Limit: 1000})
	for _, row := range rows {
		d, err := r.Show(row.Scope, row.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, row, d)
		if d.Explain != nil {
			all = append(all, d.Explain.String())
		}
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// noTime is a time that there is not, as releases before wrote it; now it is left out.
var noTime = regexp.MustCompile(`,\n *"[a-z_]+": "0001-01-01T00:00:00Z"`)

// TestStateOfAnEarlierReleaseIsRead to the last number: counts, records, regular
// mail, alarms and suspensions from its snapshot, its log and its files of states.
func TestStateOfAnEarlierReleaseIsRead(t *testing.T) {
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/release-1/*.gz")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(name, ".gz")), unzipped(t, "release-1/"+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{t: t, at: time.Date(2026, 7, 7, 12, 18, 44, 0, time.UTC)}
	r.open(dir, nil, func(c *Config) { c.MaxKnown = 30_000 })
	if got, want := asCounted(string(r.seen())), asCounted(noTime.ReplaceAllString(string(unzipped(t, "release-1/seen.json.gz")), "")); got != want {
		for i, line := range strings.Split(got, "\n") {
			if w := strings.Split(want, "\n"); i >= len(w) || w[i] != line {
				t.Fatalf("line %d: %s, want %s", i, line, w[min(i, len(w)-1)])
			}
		}
	}
	before := len(r.changes)
	ev := event("shop", "anna", "a@x.example")
	to(ev, "colleague1@y.example", false)
	was, err := r.explain(UserSender, "anna a@x.example")
	if err != nil {
		t.Fatal(err)
	}
	r.Observe(ev)
	is, err := r.explain(UserSender, "anna a@x.example")
	if err != nil || is.Parts[1].Now != was.Parts[1].Now || len(r.changes) != before {
		t.Errorf("a recipient that was known counts as new: %v, %+v, %v", is, r.changes[before:], err)
	}
}

// TestRedisOfAnEarlierReleaseIsRead: meters, known recipients, states and notes.
func TestRedisOfAnEarlierReleaseIsRead(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(unzipped(t, "release-1/redis.json.gz"), &keys); err != nil {
		t.Fatal(err)
	}
	var notes []string
	for key, raw := range keys {
		var text []byte
		var hash map[string]string
		var stream []struct {
			Values map[string]string `json:"values"`
		}
		var err error
		switch {
		case json.Unmarshal(raw, &text) == nil:
			err = c.Set(t.Context(), key, text, 0).Err()
		case json.Unmarshal(raw, &hash) == nil:
			err = c.HSet(t.Context(), key, hash).Err()
		case json.Unmarshal(raw, &stream) == nil:
			for _, m := range stream {
				if b, err := base64.StdEncoding.DecodeString(m.Values["n"]); err == nil && len(b) > 0 {
					notes = append(notes, string(b))
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n := startNode(t, s.Addr)
	for sender, want := range map[string]int{"a@x.example": 12, "b@x.example": 60} {
		if got := n.messages(sender); got != want {
			t.Errorf("%s: %d messages, want %d", sender, got, want)
		}
	}
	if !n.Judge("", "u", "").Refuse() {
		t.Error("the suspension of a user is not known")
	}
	d, err := n.Show(UserSender, "anna b@x.example")
	if err != nil || len(d.Alarms) == 0 || len(d.Alarms) > 6 {
		t.Errorf("its alarms: %+v, %v", d, err)
	}
	for _, entry := range notes {
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "test:{outlier}:stream", Values: []any{"node", "other", "n", entry}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the notes to be counted", func() bool { return n.messages("a@x.example") == 24 && n.messages("b@x.example") == 120 })
	// Two of them were refused, and are not known from then on.
	if e, err := n.explain(Sender, "a@x.example"); err != nil || e.Parts[1].Now > 14.5 {
		t.Errorf("recipients that were known count as new: %+v, %v", e, err)
	}
}
