package scan

import (
	"context"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/internal/scantest"
)

// TestRealScannersKilledInMidScan: clamd and rspamd are stopped with a message in
// their hands and then killed: under defer nothing passes, under pass it is counted.
func TestRealScannersKilledInMidScan(t *testing.T) {
	clamd, rspamd := scantest.StartClamd(t, ""), scantest.StartRspamd(t, "", "")
	for name, c := range map[string]struct {
		change  func(*Config)
		process *os.Process
	}{
		"clamd":  {func(k *Config) { k.Clamd = "unix:" + clamd.Socket }, clamd.Process},
		"rspamd": {func(k *Config) { k.Rspamd = "http://127.0.0.1:" + rspamd.Normal }, rspamd.Process},
	} {
		t.Run(name, func(t *testing.T) {
			scanner := func(onFailure Choice) Config {
				return config(func(k *Config) { c.change(k); k.Timeout, k.OnFailure, k.Canary = 2*patience, onFailure, time.Hour })
			}
			set := await(t, map[string]Config{"defers": scanner(Defer), "passes": scanner(Pass)})
			if v := judge(t, set, message("hello\r\n")).Decided; v != nil {
				t.Fatalf("%+v", v)
			}
			syscall.Kill(-c.process.Pid, syscall.SIGSTOP)
			done := make(chan *Result)
			go func() {
				r, err := set.Judge(context.Background(), message(strings.Repeat("another text\r\n", 50_000)))
				if err != nil {
					t.Error(err)
				}
				r.Finish()
				done <- r
			}()
			select {
			case r := <-done:
				t.Fatalf("a verdict of a process that is stopped: %+v", r.Decided)
			case <-time.After(300 * time.Millisecond): // the message is on its way
			}
			syscall.Kill(-c.process.Pid, syscall.SIGKILL)
			within(t, func() {
				r := <-done
				if r.Decided == nil || r.Decided.Scanner != "defers" || r.Decided.Choice != Defer || r.Decided.Class != Fault {
					t.Errorf("%+v", r.Decided)
				}
				if v := r.Verdicts[1]; v.Class != Fault || v.Choice != Pass || !v.Unscanned {
					t.Errorf("%+v", v)
				}
			})
			if set.scanners[0].check(t.Context()) || set.Missing("shop", "news") != "defers" {
				t.Error("a scanner that was killed is up")
			}
		})
	}
}

// TestRealClamdReloadsItsDatabase: while clamd reads a new database again and
// again, beside its work or instead of it, what it knew is found or deferred, and
// what is new is found once it is there.
func TestRealClamdReloadsItsDatabase(t *testing.T) {
	for _, beside := range []string{"yes", "no"} {
		t.Run("concurrent "+beside, func(t *testing.T) { reloadClamd(t, beside) })
	}
}

func reloadClamd(t *testing.T, beside string) {
	clamd := scantest.StartClamd(t, "ConcurrentDatabaseReload "+beside+"\nIdleTimeout 1\n") // as long as it waits for its idle threads before it reads
	set := await(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Timeout, k.Canary = "unix:"+clamd.Socket, time.Second, time.Second })})
	set.Start(10 * time.Second)
	const word = "a word that only the new signature knows"
	if v := only(t, set, message("first: "+word+"\r\n")); v.Class != Clean {
		t.Fatalf("%+v", v)
	}
	var stop atomic.Bool
	var found, deferred atomic.Int64
	var tasks sync.WaitGroup
	for range 4 {
		tasks.Go(func() {
			for !stop.Load() {
				r, err := set.Judge(context.Background(), attach("x.com", []byte(eicar())))
				if err != nil {
					t.Error(err)
					return
				}
				r.Finish()
				switch v := r.Verdicts[0]; {
				case v.Class == Virus:
					found.Add(1)
				case v.Choice == Defer:
					deferred.Add(1)
					time.Sleep(10 * time.Millisecond) // its client comes again later
				default:
					t.Errorf("while it reloads: %+v", v)
				}
			}
		})
	}
	scantest.Write(t, filepath.Join(clamd.Database, "word.ndb"), "Own.Word:0:*:"+hex.EncodeToString([]byte(word))+"\n")
	times := map[string]int{"yes": 5, "no": 3}[beside]
	for range times {
		command(t, clamd.Socket, "zRELOAD\x00")
		time.Sleep(100 * time.Millisecond)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if v := only(t, set, message(time.Now().String()+word+"\r\n")); v.Class == Virus && v.Text == "Own.Word.UNOFFICIAL" {
			break
		}
		if time.Since(began) > patience {
			t.Errorf("the new signature finds nothing: %+v", set.States())
			break
		}
	}
	stop.Store(true)
	tasks.Wait()
	if found.Load() == 0 {
		t.Error("nothing was found at all")
	}
	t.Logf("%d found, %d deferred while it read its database %d times", found.Load(), deferred.Load(), times)
}

func command(t *testing.T, socket, s string) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	c.Read(make([]byte, 100))
}
