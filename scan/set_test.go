package scan

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestScannerThatMissesItsCanaryIsDown(t *testing.T) {
	s := clamdServer(t, always(fresh), func(c net.Conn, _ []byte) { io.WriteString(c, "stream: OK\x00") })
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "tcp:" + s.address() })})
	if set.Missing("shop", "news") != "av" {
		t.Error("a scanner that says OK to the EICAR file is taken for up")
	}
	if v := only(t, set, message("hello\r\n")); v.Class != Fault || v.Choice != Defer {
		t.Errorf("%+v", v)
	}
}

func TestScannerThatMissesTheEncryptedCanaryIsDown(t *testing.T) {
	s := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		answer := "stream: OK\x00"
		if bytes.Contains(m, []byte("test.com")) {
			answer = "stream: Eicar FOUND\x00"
		}
		io.WriteString(c, answer)
	})
	for choice, want := range map[Choice]string{Pass: "", Refuse: "av"} {
		set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Encrypted = "tcp:"+s.address(), choice })})
		if got := set.Missing("shop", "news"); got != want {
			t.Errorf("encrypted = %s: missing %q, want %q", choice, got, want)
		}
	}
}

func TestCleanIsRememberedUntilTheDatabaseChanges(t *testing.T) {
	var scans atomic.Int64
	version := atomic.Value{}
	version.Store(fresh)
	s := clamdServer(t, func() string { return version.Load().(string) }, finds(func() string { scans.Add(1); return "stream: OK" }))
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "tcp:" + s.address() })})
	for range 1000 {
		if v := only(t, set, message("hello\r\n")); v.Class != Clean {
			t.Fatalf("%+v", v)
		}
	}
	if n := scans.Load(); n != 1 {
		t.Errorf("%d scans of one message, want 1", n)
	}
	version.Store("ClamAV 1.4.6/27001/Mon Nov 30 10:00:00 2026")
	only(t, set, message("hello\r\n"))
	only(t, set, message("hello\r\n"))
	if n := scans.Load(); n != 2 {
		t.Errorf("%d scans after a new database, want 2", n)
	}
	for _, change := range []func(*Message){
		func(m *Message) { m.Client = "other" }, func(m *Message) { m.User = "" }, func(m *Message) { m.From = "x@example.org" },
		func(m *Message) { m.To = m.To[:1] }, func(m *Message) { m.Content.Chunks[0] = []byte("Hello\r\n") },
		func(m *Message) { m.Content.Head = []byte("From: b@example.org\r\n\r\n") },
	} {
		before := scans.Load()
		m := message("hello\r\n")
		change(m)
		only(t, set, m)
		if scans.Load() != before+1 {
			t.Errorf("%+v was taken for the same message", m)
		}
	}
}

func TestThirdFaultOnOneContentIsRefused(t *testing.T) {
	s := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		switch {
		case bytes.Contains(m, []byte("X-Postern-Canary")):
			io.WriteString(c, "stream: Eicar FOUND\x00")
		case bytes.Contains(m, []byte("poison")):
		default:
			io.WriteString(c, "stream: OK\x00")
		}
	})
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "tcp:" + s.address() })})
	for i, want := range []Choice{Defer, Defer, Refuse, Refuse} {
		v := only(t, set, message("poison\r\n"))
		if v.Choice != want || v.Class != Fault || v.Hopeless != (want == Refuse) {
			t.Errorf("attempt %d: %+v, want %s", i+1, v, want)
		}
	}
	if v := only(t, set, message("hello\r\n")); v.Class != Clean {
		t.Errorf("other mail: %+v", v)
	}
}

// TestOneOutageBlamesNobody: a scanner is silent for a while, as one that reads its
// database, and several copies of one message wait for it. Its canary is found
// before and behind, and still these are not three faults of the content.
func TestOneOutageBlamesNobody(t *testing.T) {
	var silent atomic.Pointer[sync.WaitGroup]
	silent.Store(&sync.WaitGroup{})
	s := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		silent.Load().Wait()
		finds(always("stream: OK"))(c, m)
	})
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Timeout = "tcp:"+s.address(), 300*time.Millisecond })})
	for range 3 {
		outage := &sync.WaitGroup{}
		outage.Add(1)
		silent.Store(outage)
		time.AfterFunc(400*time.Millisecond, outage.Done) // the canary behind the fault waits for it, and is found
		var tasks sync.WaitGroup
		for range 4 {
			tasks.Go(func() {
				if v := only(t, set, message("hello\r\n")); v.Choice == Refuse {
					t.Errorf("%+v", v)
				}
			})
		}
		tasks.Wait()
		outage.Wait()
		set.scanners[0].check(t.Context())
	}
	eventually(t, "it is well again", func() bool {
		set.scanners[0].check(t.Context())
		return only(t, set, message("hello\r\n")).Class == Clean
	})
}

// TestOneClientDoesNotKeepTheOthersWaiting: a client sends what the scanner does not
// come to an end with, as much as it can.
func TestOneClientDoesNotKeepTheOthersWaiting(t *testing.T) {
	enough := make(chan struct{})
	s := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		if bytes.Contains(m, []byte("poison")) {
			<-enough
		}
		finds(always("stream: OK"))(c, m)
	})
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Timeout = "tcp:"+s.address(), 2*patience })})
	var tasks sync.WaitGroup
	for i := range 40 {
		tasks.Go(func() { only(t, set, message(fmt.Sprintf("poison %d\r\n", i))) })
	}
	places := set.scanners[0].places
	eventually(t, "they have all the places that they get", func() bool { return len(places.all) == places.share })
	for i := range 20 {
		m := message(fmt.Sprintf("hello %d\r\n", i))
		m.Client = "other"
		if v := only(t, set, m); v.Class != Clean || v.Took > patience {
			t.Errorf("%+v", v)
		}
	}
	close(enough)
	tasks.Wait()
}

func TestFaultsOfAScannerThatIsAwayBlameNobody(t *testing.T) {
	var broken atomic.Bool
	version := atomic.Value{}
	version.Store(fresh)
	s := clamdServer(t, func() string { return version.Load().(string) }, func(c net.Conn, m []byte) {
		if broken.Load() {
			return
		}
		finds(always("stream: OK"))(c, m)
	})
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "tcp:" + s.address() })})
	for i := range 6 {
		broken.Store(true)
		if v := only(t, set, message("hello\r\n")); v.Choice != Defer {
			t.Fatalf("attempt %d: %+v", i, v)
		}
		broken.Store(false)
		set.scanners[0].check(t.Context())
	}
	if v := only(t, set, message("hello\r\n")); v.Class != Clean {
		t.Errorf("%+v %v", v, v.Err)
	}
}

func TestFirstRefusalEndsTheOthers(t *testing.T) {
	slow := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		if bytes.Contains(m, []byte("X-Postern-Canary")) {
			io.WriteString(c, "stream: Eicar FOUND\x00")
			return
		}
		c.Read(make([]byte, 1)) // until it is closed
	})
	quick := clamdServer(t, always(fresh), finds(always("stream: Virus FOUND")))
	set := newSet(t, map[string]Config{
		"a": config(func(k *Config) { k.Clamd, k.Timeout = "tcp:"+slow.address(), 2*patience }),
		"b": config(func(k *Config) { k.Clamd = "tcp:" + quick.address() }),
	})
	within(t, func() {
		r := judge(t, set, message("hello\r\n"))
		if r.Decided == nil || r.Decided.Scanner != "b" || r.Decided.Class != Virus || r.Verdicts[0].Class != Cut {
			t.Errorf("%+v", r)
		}
	})
	if set.Missing("", "") != "" {
		t.Error("the scanner that was cut off is taken for down")
	}
}

func TestRefusalWinsOverDeferral(t *testing.T) {
	a := clamdServer(t, always(fresh), finds(always("nonsense")))
	b := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		time.Sleep(30 * time.Millisecond) // later than the other
		finds(always("stream: Virus FOUND"))(c, m)
	})
	set := newSet(t, map[string]Config{
		"a": config(func(k *Config) { k.Clamd = "tcp:" + a.address() }),
		"b": config(func(k *Config) { k.Clamd = "tcp:" + b.address() }),
	})
	if r := judge(t, set, message("x")); r.Decided == nil || r.Decided.Choice != Refuse {
		t.Errorf("%+v", r.Decided)
	}
}

func TestShadowNeverCountsNorDelays(t *testing.T) {
	slow := serve(t, func(c net.Conn) { c.Read(make([]byte, 1)); io.Copy(io.Discard, c) })
	answered := make(chan struct{})
	quick := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		finds(always("stream: Virus FOUND"))(c, m)
		if !bytes.Contains(m, []byte("X-Postern-Canary")) {
			close(answered)
		}
	})
	set := newSet(t, map[string]Config{
		"found": config(func(k *Config) { k.Clamd, k.Mode = "tcp:"+quick.address(), Shadow }),
		"slow":  config(func(k *Config) { k.Clamd, k.Mode, k.Canary, k.Timeout = "tcp:"+slow.address(), Shadow, 0, 2*patience }),
	})
	if set.Missing("", "") != "" {
		t.Error("mail waits for a scanner in shadow")
	}
	var r *Result
	within(t, func() {
		r, _ = set.Judge(context.Background(), message("x"))
	})
	<-answered
	eventually(t, "the quick one has read it", func() bool { return len(set.scanners[0].places.all) == 0 })
	within(t, r.Finish)
	if r.Decided != nil || r.Verdicts[0].Class != Virus || r.Verdicts[0].Choice != Pass || r.Verdicts[1].Class != Cut {
		t.Errorf("%+v %+v", r.Decided, r.Verdicts)
	}
}

func TestNothingPassesWhenItsCallerGoesAway(t *testing.T) {
	slow := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		if bytes.Contains(m, []byte("X-Postern-Canary")) {
			io.WriteString(c, "stream: Eicar FOUND\x00")
			return
		}
		c.Read(make([]byte, 1))
	})
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.OnFailure = "tcp:"+slow.address(), Pass })})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	r, err := set.Judge(ctx, message("x"))
	if err != nil || r.Decided == nil || r.Decided.Choice != Defer {
		t.Errorf("%+v %v", r, err)
	}
	r.Finish()
}

func TestChangedConfigurationAsksAnew(t *testing.T) {
	s := clamdServer(t, always(fresh), finds(always("stream: OK")))
	c := config(func(k *Config) { k.Clamd = "tcp:" + s.address() })
	old := newSet(t, map[string]Config{"av": c})
	same, _ := New(Options{Hostname: "relay.example", Configs: map[string]Config{"av": c}, Old: old})
	if same.Missing("", "") != "" || same.scanners[0] != old.scanners[0] {
		t.Error("a scanner that has not changed was forgotten")
	}
	c.Encrypted = Refuse
	other, _ := New(Options{Hostname: "relay.example", Configs: map[string]Config{"av": c}, Old: old})
	if other.Missing("", "") != "av" {
		t.Error("a scanner with other settings is taken for proven")
	}
}

func TestTooLargeAndOtherClients(t *testing.T) {
	s := clamdServer(t, always(fresh), finds(always("stream: Virus FOUND")))
	set := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.MaxSize, k.Clients = "tcp:"+s.address(), 100, []string{"shop"} })})
	if v := only(t, set, message(strings.Repeat("x", 101))); v.Class != TooLarge || v.Choice != Pass || !v.Unscanned {
		t.Errorf("%+v", v)
	}
	m := message("x")
	m.Client = "other"
	if r := judge(t, set, m); len(r.Verdicts) != 0 || r.Decided != nil {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheck(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"has no address":         func(*Config) {},
		"second kind":            func(c *Config) { c.Clamd, c.Rspamd = "unix:/x", "http://127.0.0.1:1" },
		"plain = true":           func(c *Config) { c.Rspamd = "http://192.0.2.1:11333" },
		"plain text":             func(c *Config) { c.Clamd = "tcp:av.example:3310" },
		"names no service":       func(c *Config) { c.ICAP = "icap://127.0.0.1" },
		"is not an address":      func(c *Config) { c.Milter = "inet:8891@localhost" },
		"at most 120s":           func(c *Config) { c.Clamd, c.Timeout = "unix:/x", 121*time.Second },
		"write 1s to 1h":         func(c *Config) { c.Clamd, c.Canary = "unix:/x", time.Millisecond },
		"means nothing for":      func(c *Config) { c.Clamd, c.SettingsID = "unix:/x", "out" },
		"may add":                func(c *Config) { c.Milter, c.AcceptHeaders = "unix:/x", []string{"DKIM-Signature"} },
		`not one of defer, pass`: func(c *Config) { c.Clamd, c.OnFailure = "unix:/x", Refuse },
	} {
		var found []string
		c := config(change)
		c.Check(func(key, problem string) { found = append(found, key+": "+problem) })
		if !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("%q, want %q", found, want)
		}
	}
	c := config(func(c *Config) { c.Rspamd, c.Plain = "http://192.0.2.1:11333", true })
	c.Check(func(key, problem string) { t.Errorf("%s: %s", key, problem) })
}

// faults are what a server does instead of answering, for longer than anybody waits.
var faults = map[string]func(c net.Conn, rest io.Reader){
	"silent":  func(c net.Conn, rest io.Reader) { io.Copy(io.Discard, rest) },
	"deaf":    func(c net.Conn, rest io.Reader) { untilClosed(c) },
	"reset":   func(c net.Conn, rest io.Reader) { c.(*net.TCPConn).SetLinger(0) },
	"closed":  func(c net.Conn, rest io.Reader) {},
	"garbage": func(c net.Conn, rest io.Reader) { c.Write(bytes.Repeat([]byte("\x00\xffgarbage\r\n"), 100)) },
	"drip": func(c net.Conn, rest io.Reader) {
		text := []byte("stream: OK, ICAP/1.0 204 and HTTP/1.1 200 in small pieces, for as long as it takes")
		for i := 0; ; i++ {
			if _, err := c.Write(text[i%len(text):][:1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	},
	"progress": func(c net.Conn, rest io.Reader) {
		c.Write([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x00"))
		for {
			if _, err := c.Write([]byte("\x00\x00\x00\x01p")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	},
	"half": func(c net.Conn, rest io.Reader) {
		c.Write([]byte("ICAP/1.0 204 No Content\r\nISTag: "))
		io.Copy(io.Discard, rest)
	},
}

// untilClosed waits for its own end to be closed, and reads nothing before.
func untilClosed(c net.Conn) {
	for c.SetDeadline(time.Time{}) == nil {
		time.Sleep(10 * time.Millisecond)
	}
}

func kinds(address string) map[string]func(*Config) {
	return map[string]func(*Config){
		"clamd":  func(k *Config) { k.Clamd = "tcp:" + address },
		"rspamd": func(k *Config) { k.Rspamd = "http://" + address },
		"icap":   func(k *Config) { k.ICAP = "icap://" + address + "/avscan" },
		"milter": func(k *Config) { k.Milter = "inet:" + address },
	}
}

// Each kind against each fault: the verdict is a fault, in time; deferred or
// passed and counted as configured.
func TestFaultsOfEachKind(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for name, f := range faults {
		s := serve(t, func(c net.Conn) { f(c, c) })
		for kind, change := range kinds(s.address()) {
			for _, onFailure := range []Choice{Defer, Pass} {
				t.Run(fmt.Sprintf("%s %s %s", kind, name, onFailure), func(t *testing.T) {
					set, err := New(Options{Configs: map[string]Config{"x": config(func(k *Config) {
						change(k)
						k.Timeout, k.OnFailure, k.Canary = timeout, onFailure, 0
					})}})
					if err != nil {
						t.Fatal(err)
					}
					defer set.Stop(nil)
					within(t, func() {
						v := only(t, set, message(strings.Repeat("hello\r\n", 100_000)))
						if v.Class != Fault || v.Choice != onFailure || v.Unscanned != (onFailure == Pass) {
							t.Errorf("%+v", v)
						}
					})
				})
			}
		}
		s.close()
	}
}

func TestRefusedConnection(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	address := l.Addr().String()
	l.Close()
	for kind, change := range kinds(address) {
		set := newSet(t, map[string]Config{kind: config(change)})
		if set.Missing("", "") != kind {
			t.Errorf("%s is up", kind)
		}
		if v := only(t, set, message("x")); v.Choice != Defer {
			t.Errorf("%s: %+v", kind, v)
		}
	}
}

func TestScannerComesBack(t *testing.T) {
	var dead atomic.Bool
	dead.Store(true)
	s := clamdServer(t, always(fresh), func(c net.Conn, m []byte) {
		if !dead.Load() {
			finds(always("stream: OK"))(c, m)
		}
	})
	changes := make(chan ScannerState, 10)
	set, _ := New(Options{Configs: map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Canary = "tcp:"+s.address(), time.Second })},
		Changed: func(s ScannerState) { changes <- s }})
	set.Start(time.Second)
	defer set.Stop(nil)
	if st := <-changes; st.Up {
		t.Errorf("%+v", st)
	}
	dead.Store(false)
	if st := <-changes; !st.Up || !st.Proven {
		t.Errorf("%+v", st)
	}
}

func TestContentIsReadInPlace(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "from the file")
	c := Content{Head: []byte("head "), Chunks: [][]byte{[]byte("one "), []byte("two ")}, File: f, FileSize: 8}
	for range 2 {
		b, _ := io.ReadAll(bufio.NewReader(c.Reader()))
		if string(b) != "head one two from the" || c.Size() != int64(len(b)) {
			t.Errorf("%q, size %d", b, c.Size())
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"stream: OK", `{"action":"no action","is_skipped":false}`, "ICAP/1.0 204 No\r\n\r\n",
		"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseClamd(s); err == nil && v.Class == Clean && s != "stream: OK" {
			t.Errorf("clamd: %q is clean", s)
		}
		if v, err := parseRspamd([]byte(s), nil, false); err == nil && v.Class == "" {
			t.Errorf("rspamd: %q has no class", s)
		}
		parseVersion(s)
		x := &exchange{c: &icap{}, conn: &bound{}, r: bufio.NewReader(strings.NewReader(s)), m: message("")}
		a, err := readICAP(x.r)
		if err != nil {
			return
		}
		a.options()
		if v, err := x.judge(a); err == nil && (v.Class == "" || v.Class == Clean && a.status != 204) {
			t.Errorf("icap: %q is %q", s, v.Class)
		}
		for name, value := range fields([]byte(s)) {
			_, _ = name, value
		}
	})
}
