package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func entry(n int) Entry {
	return Entry{ID: fmt.Sprint(n), Actor: "root", Door: "socket", Verb: "release", Target: "sender a@x.example", Reason: "looked at", Result: Begun}
}

// open is a Log in a folder of its own, with what it wrote into the log of the relay.
func open(t *testing.T, name string, o Options) (*Log, *lines) {
	t.Helper()
	log := &lines{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	l := Open(name, o)
	t.Cleanup(l.Close)
	return l, log
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func write(t *testing.T, name string, n int) {
	t.Helper()
	l, _ := open(t, name, Options{})
	for i := range n {
		if err := l.Write(entry(i+1), false); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
}

func verify(t *testing.T, name string) Report {
	t.Helper()
	r, err := Verify(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuditIsOneChainOverRestarts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 3 {
		write(t, name, 5)
	}
	if r := verify(t, name); r.Lines != 15 || r.Seq != 15 || len(r.Problems) > 0 || r.From != 1 {
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	list, err := Latest(name, 14, 3, func(*Line) bool { return true })
	if err != nil || len(list) != 3 || list[0].Seq != 13 || list[2].Seq != 11 {
		t.Errorf("%+v %v", list, err)
	}
}

// TestEachEditShows: whatever is done to one line, Verify names a place.
func TestEachEditShows(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, name, 5)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.SplitAfter(bytes.TrimSuffix(good, []byte("\n")), []byte("\n"))
	all[4] = append(all[4], '\n')
	try := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, name); len(r.Problems) == 0 {
			t.Errorf("%s is not found", what)
		}
	}
	for i := range all {
		for _, c := range []struct{ what, from, to string }{{"another actor", `"root"`, `"toor"`}, {"another reason", "looked at", "looked up"}, {"another number", `"seq":`, `"seq":9`}} {
			changed := bytes.Replace(all[i], []byte(c.from), []byte(c.to), 1)
			try(fmt.Sprintf("%s in line %d", c.what, i+1), bytes.Join(append(append(append([][]byte{}, all[:i]...), changed), all[i+1:]...), nil))
		}
		if i > 0 && i < 4 {
			try(fmt.Sprintf("line %d taken out", i+1), bytes.Join(append(append([][]byte{}, all[:i]...), all[i+1:]...), nil))
			try(fmt.Sprintf("line %d twice", i+1), bytes.Join(append(append(append([][]byte{}, all[:i+1]...), all[i]), all[i+1:]...), nil))
		}
	}
	try("a line without its end", bytes.TrimSuffix(good, []byte("\n")))
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, name); len(r.Problems) > 0 {
		t.Errorf("the file as it was: %v", r.Problems)
	}
}

func TestHalfALineOfACrashIsCutOff(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, name, 2)
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"seq":3,"time":"2026`)
	f.Close()
	write(t, name, 2)
	if r := verify(t, name); r.Lines != 4 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestAuditGoesOnInANewFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "audit.jsonl")
	l, _ := open(t, name, Options{})
	if err := l.Write(entry(1), false); err != nil {
		t.Fatal(err)
	}
	os.Rename(name, filepath.Join(dir, "audit-20261130T120000.000000Z.jsonl")) // as logrotate would
	if err := l.Write(entry(2), false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	os.Rename(name, filepath.Join(dir, "audit-20261130T130000.000000Z.jsonl"))
	write(t, name, 1)
	if r := verify(t, name); r.Files != 3 || r.Lines != 3 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestAuditIsOneChainWhateverTheClockSays: a full file goes behind those before it, also
// where the clock was set back by a year.
func TestAuditIsOneChainWhateverTheClockSays(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	full := &Log{name: name, now: func() time.Time { return at }}
	for range 4 {
		write(t, name, 3)
		if err := full.setAside(); err != nil {
			t.Fatal(err)
		}
		at = at.AddDate(-1, 0, 0)
	}
	write(t, name, 1)
	if r := verify(t, name); r.Files != 5 || r.Lines != 13 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
}

// badDisk is a file that fails while it is told to.
type badDisk struct {
	*os.File
	fails *atomic.Bool
	hang  *hang // nil: it does not
}

// hang holds writes up until it is closed.
type hang struct{ began, end chan struct{} }

func newHang() *hang { return &hang{began: make(chan struct{}), end: make(chan struct{})} }

func (h *hang) hold() {
	select {
	case h.began <- struct{}{}: // whoever waits for it
	case <-h.end:
	}
	<-h.end
}

func (b *badDisk) Write(p []byte) (int, error) {
	if b.hang != nil {
		b.hang.hold()
	}
	if b.fails.Load() {
		n, _ := b.File.Write(p[:len(p)/2])
		return n, syscall.ENOSPC
	}
	return b.File.Write(p)
}

func badly(fails *atomic.Bool, h *hang) func(string, int) (File, error) {
	return func(name string, flags int) (File, error) {
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			return nil, err
		}
		return &badDisk{f, fails, h}, nil
	}
}

// TestLinesWaitForTheDisk: a line that is kept stands in the log at once and in the file
// when the disk is well again; one that is not never stands there.
func TestLinesWaitForTheDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	var fails atomic.Bool
	var last atomic.Value
	l, log := open(t, name, Options{Open: badly(&fails, nil), Report: func(err error) { last.Store(fmt.Sprint(err)) }})
	if err := l.Write(entry(1), false); err != nil {
		t.Fatal(err)
	}
	fails.Store(true)
	if err := l.Write(entry(2), false); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a line that the disk refused: %v", err)
	}
	if err := l.Write(entry(3), true); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a line that is kept: %v", err)
	}
	if !strings.Contains(log.String(), "msg=audit id=3 by=root") || strings.Contains(log.String(), "id=2") || !strings.Contains(last.Load().(string), "no space") {
		t.Errorf("%s\n%s", log, last.Load())
	}
	fails.Store(false)
	if err := l.Write(entry(4), false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	list, err := Latest(name, 0, 10, func(*Line) bool { return true })
	if err != nil || len(list) != 3 || list[0].ID != "4" || list[1].ID != "3" || list[2].ID != "1" {
		t.Errorf("%+v %v", list, err)
	}
	if r := verify(t, name); len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
}

// TestDiskThatHangs: an act does not wait for longer than its patience.
func TestDiskThatHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	h := newHang()
	var fails atomic.Bool
	l, log := open(t, name, Options{Open: badly(&fails, h), Patience: 20 * time.Millisecond})
	l.Note(entry(1))
	<-h.began // the first is being written
	for i := range 2 {
		if err := l.Write(entry(i+2), i == 0); !errors.Is(err, errSlow) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if !strings.Contains(log.String(), "id=2") {
		t.Error(log)
	}
	close(h.end)
	l.Close()
	list, err := Latest(name, 0, 10, func(*Line) bool { return true })
	if err != nil || len(list) != 2 || list[0].ID != "2" || list[1].ID != "1" {
		t.Errorf("%+v %v", list, err)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	var fails atomic.Bool
	fails.Store(true)
	l, _ := open(t, name, Options{Open: badly(&fails, nil), Patience: time.Minute})
	for i := range 3 * maxWaiting {
		l.Note(entry(i + 1))
	}
	fails.Store(false)
	if err := l.Write(entry(0), false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	list, err := Latest(name, 0, 3*maxWaiting, func(*Line) bool { return true })
	if err != nil || len(list) > 2*maxWaiting+1 || list[0].ID != "0" || list[1].ID != fmt.Sprint(3*maxWaiting) {
		t.Fatalf("%d lines, %v", len(list), err)
	}
	lost := 0
	for _, line := range list {
		lost += line.Lost
	}
	if lost+len(list) != 3*maxWaiting+1 {
		t.Errorf("%d lines and %d that are said to be lost", len(list), lost)
	}
}

// TestNewestWaitsWhileManyAreWritten: lines that wait behind a full batch push out the
// oldest of those that wait, never the newest, whose act would be refused for it.
func TestNewestWaitsWhileManyAreWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	h := newHang()
	var fails atomic.Bool
	l, _ := open(t, name, Options{Open: badly(&fails, h), Patience: time.Minute})
	l.Note(entry(1))
	<-h.began
	for i := range 2*maxWaiting + 5 {
		l.Note(entry(i + 2))
	}
	l.mu.Lock()
	n, newest := len(l.queue), l.queue[len(l.queue)-1].entry.ID
	l.mu.Unlock()
	if n != maxWaiting+1 || newest != fmt.Sprint(2*maxWaiting+6) {
		t.Errorf("%d wait, the newest is %s", n, newest)
	}
	close(h.end)
	if err := l.Write(entry(0), false); err != nil {
		t.Error(err)
	}
	l.Close()
	if list, err := Latest(name, 0, 3*maxWaiting, func(*Line) bool { return true }); err != nil || len(list) != maxWaiting+2 && len(list) != maxWaiting+1 {
		t.Errorf("%d lines, %v", len(list), err)
	}
}

func TestManyAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	l, _ := open(t, name, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if err := l.Write(entry(i), false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l.Close()
	if r := verify(t, name); r.Lines != 100 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	if err := l.Write(entry(1), false); err == nil {
		t.Error("a closed audit takes lines")
	}
}

func TestLinesAreBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	l, _ := open(t, name, Options{})
	long := strings.Repeat("\x00\xff<", 10_000)
	if err := l.Write(Entry{ID: "1", Actor: long, Target: long, Reason: long, Before: State(long), Result: Begun}, false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if info, err := os.Stat(name); err != nil || info.Size() > maxLine {
		t.Errorf("%d octets, %v", info.Size(), err)
	}
	if r := verify(t, name); len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
}

func TestAuditThatIsALinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "other")
	if err := os.Symlink(other, name); err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, name, Options{})
	if err := l.Write(entry(1), false); err == nil {
		t.Error("a link is written to")
	}
	l.Close()
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func FuzzLine(f *testing.F) {
	text, _, _ := chain{}.next(entry(1), time.Unix(0, 0), 0)
	f.Add(text)
	f.Add([]byte(`{"seq":1,"sum":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, next, err := chain{}.read(text)
		if err == nil && (l.Seq != 1 || next.seq != 1 || l.Prev != "") {
			t.Fatalf("%+v", l)
		}
	})
}
