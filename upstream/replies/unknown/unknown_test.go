package unknown

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func TestRepliesThatAreAlikeAreOneGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), FileName)
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		s.Add(&Reply{Time: noon.Add(time.Duration(i) * time.Minute), Stage: "rcpt", Domain: fmt.Sprintf("d%d.example", i), Hide: []string{"ben"},
			Text: fmt.Sprintf("550 5.9.9 Zorp ben level %d (4XkQb21s%dz) <ben@d%d.example> frobnicated by the quux of mx%d.d.example", i, i, i, i)})
	}
	s.Add(&Reply{Time: noon, Stage: "dot", Text: "550 5.9.9 Zorp ben level 1"})
	s.Add(&Reply{Time: noon, Stage: "rcpt", Text: "450 something else entirely"})
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	groups, err := Read(file)
	if err != nil || len(groups) != 3 || groups[0].Count != 9 || len(groups[0].Domains) != maxDomains || !groups[0].Last.Equal(noon.Add(8*time.Minute)) {
		t.Fatalf("%v, %d groups, %+v", err, len(groups), groups)
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(groups[0].Reply), "ben") || strings.Contains(string(b), "@d0.example") {
		t.Errorf("%v, kept unmasked: %s", err, b)
	}
	again, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	again.Add(&Reply{Time: noon, Stage: "rcpt", Text: "450 Something else, entirely"})
	if len(again.groups) != 3 {
		t.Error("after a restart the groups are new ones")
	}
}

func TestStoreStaysBounded(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), FileName))
	if err != nil {
		t.Fatal(err)
	}
	often := &Reply{Time: noon, Stage: "rcpt", Text: "550 often said words"}
	s.Add(often)
	s.Add(often)
	for i := range 5 * maxGroups {
		w := strings.Repeat(string(rune('a'+i%26)), 3+i/26%20)
		s.Add(&Reply{Time: noon.Add(time.Duration(i)), Stage: "rcpt", Text: "550 " + w + " " + w + "x " + w + "y " + strings.Repeat("long ", 2000)})
	}
	if len(s.groups) > maxGroups || s.groups[0].Count < 2 {
		t.Errorf("%d groups, the first of %d", len(s.groups), s.groups[0].Count)
	}
	for _, g := range s.groups {
		if len(g.Reply) > maxText {
			t.Fatalf("%d octets", len(g.Reply))
		}
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	file := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(file, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err == nil {
		t.Error("no error")
	}
	s.Add(&Reply{Time: noon, Stage: "rcpt", Text: "550 zorp"})
	if err := s.Save(); err != nil {
		t.Error(err)
	}
	if g, err := Read(file); err != nil || len(g) != 1 {
		t.Error(err, g)
	}
}

func TestLessonIsWrittenOnlyWhereItHelps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules")
	l := Lesson{Stage: "rcpt", Reply: "550 5.9.9 zorp quux", Class: "content-spam"}
	if rule, err := l.Teach(file); err != nil || !strings.Contains(rule, "zorp quux") {
		t.Fatal(err, rule)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(file)
	if _, err := l.Teach(file); err == nil {
		t.Error("taught twice")
	}
	l.Reply = "250 ok"
	if _, err := l.Teach(file); err == nil {
		t.Error("a positive reply is taught")
	}
	if b, _ := os.ReadFile(file); string(b) != string(first) {
		t.Errorf("written: %s", b)
	}
	l.Reply = "550 5.9.8 quux zorp"
	if _, err := l.Teach(file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Error("another mode", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".rules-*")); left != nil {
		t.Error("left behind", left)
	}
}
