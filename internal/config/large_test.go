package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const aHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// largeFile writes a configuration with that many users, in users_file where
// beside is set, and clients, each with a user, a network, a sender domain that
// is signed for one in ten, and a limit for one in ten.
func largeFile(t testing.TB, users, clients int, beside bool) string {
	t.Helper()
	dir := t.TempDir()
	var b, u strings.Builder
	fmt.Fprintf(&b, "hostname = \"relay.example.org\"\nstate_dir = \"s\"\n")
	if beside {
		b.WriteString("users_file = \"users.toml\"\n")
	}
	b.WriteString("[listener.in]\naddress = \"127.0.0.1:2525\"\n[stream.s]\nupstream = \"u\"\n[upstream.u]\nhosts = [\"127.0.0.2:25\"]\n")
	b.WriteString("[limit.all]\nper = \"client\"\nmessages = [\"100/1h\"]\n")
	for i := range users {
		fmt.Fprintf(&u, "[user.u%06d]\npassword = \"%s\"\n", i, aHash)
	}
	for i := range clients {
		fmt.Fprintf(&b, "[client.c%06d]\nnetworks = [\"10.%d.%d.0/24\"]\nusers = [", i, i>>8&255, i&255)
		for j := i; j < users; j += clients {
			fmt.Fprintf(&b, "\"u%06d\", ", j)
		}
		fmt.Fprintf(&b, "]\nsenders = [\"@d%06d.example\", \"news@d%06d.example\"]\nstream = \"s\"\n", i, i)
		if i%10 == 0 {
			fmt.Fprintf(&b, "[limit.l%06d]\nper = \"sender\"\nclients = [\"c%06d\"]\nmessages = [\"10/1h\"]\n", i, i)
		}
	}
	text := b.String()
	if beside {
		write(t, filepath.Join(dir, "users.toml"), []byte(u.String()))
	} else {
		text += u.String()
	}
	path := filepath.Join(dir, "relay.toml")
	write(t, path, []byte(text))
	return path
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1_000, 5_000, 25_000, 100_000} {
		for _, beside := range []bool{false, true} {
			b.Run(fmt.Sprintf("users=%d,beside=%v", n, beside), func(b *testing.B) {
				path := largeFile(b, n, n/5, beside)
				for b.Loop() {
					if _, _, err := Load(path); err != nil {
						var ps Problems
						if errors.As(err, &ps) {
							b.Fatal(ps[0])
						}
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// cpuTime is what this process has used so far; other processes do not count.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// leastTime is the least processor time of three runs of f.
func leastTime(t testing.TB, f func()) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range 3 {
		runtime.GC()
		began := cpuTime(t)
		f()
		least = min(least, cpuTime(t)-began)
	}
	return least
}

// TestLargeConfigurationsLoadInProportion: what takes N*N steps somewhere takes
// 64 times as long for eight times as much; N log N is a little over eight.
func TestLargeConfigurationsLoadInProportion(t *testing.T) {
	load := func(path string) func() {
		return func() {
			if _, _, err := Load(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	small := leastTime(t, load(largeFile(t, 5_000, 1_000, true)))
	large := leastTime(t, load(largeFile(t, 40_000, 8_000, false)))
	t.Logf("%v and %v", small, large)
	if large > 24*small {
		t.Errorf("eight times as many users and clients take %.0f times as long (%v, %v)", float64(large)/float64(small), small, large)
	}
}

// TestTheBoundOfAFileHoldsManyUsers: 100,000 users and 20,000 clients.
func TestTheBoundOfAFileHoldsManyUsers(t *testing.T) {
	file, _, err := Load(largeFile(t, 100_000, 20_000, false))
	if err != nil {
		t.Fatal(err)
	}
	if len(file.User) != 100_000 || len(file.Client) != 20_000 {
		t.Errorf("%d users, %d clients", len(file.User), len(file.Client))
	}
}

// TestManyProblemsAreToldSoon: a configuration that a script has made wrong in
// each of its lines.
func TestManyProblemsAreToldSoon(t *testing.T) {
	const n = 20_000 / slower // the race detector has nothing to find here, and costs
	repeat := func(format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	head := "hostname = \"relay.example.org\"\n[listener.in]\naddress = \"127.0.0.1:2525\"\n[stream.s]\nupstream = \"u\"\n[upstream.u]\nhosts = [\"127.0.0.2:25\"]\n"
	users := repeat("[user.u%06d]\npassword = \"" + aHash + "\"\n")
	for _, row := range []struct{ name, text string }{
		{"unknown keys in tables", head + repeat("[user.u%06d]\npasswort = \"x\"\n")},
		{"unknown keys in one table", head + "[message]\n" + repeat("k%d = 1\n")},
		{"unknown tables", head + repeat("[t%d]\n")},
		{"lines that cannot be read", repeat("= %d\n")},
		{"keys without an end", repeat("a%d = [\n")},
		{"quotes without an end", repeat("a%d = \"\"\"\n")},
		{"tables that are there twice", head + strings.Repeat("[user.u]\npassword = \""+aHash+"\"\n", n)},
		{"hashes that are none", head + repeat("[user.u%06d]\npassword = \"x\"\n")},
		{"all in one line", head + "[client]\nc = { " + strings.TrimSuffix(repeat("k%d = 1, "), ", ") + " }\n"},
		{"users that do not exist", head + users + "[client.c]\nstream = \"s\"\nusers = [" + repeat("\"v%06d\", ") + "]\n"},
		{"streams that do not exist", head + repeat("[client.c%d]\nstream = \"t\"\nusers = [\"u\"]\n")},
		{"limits of clients that do not exist", head + repeat("[limit.l%d]\nper = \"client\"\nmessages = [\"1/1h\"]\nclients = [\"c\"]\n")},
		{"clients with one network", head + repeat("[client.c%d]\nstream = \"s\"\nnetworks = [\"192.0.2.0/24\"]\n")},
		{"senders that are none", head + "[client.c]\nstream = \"s\"\nnetworks = [\"192.0.2.0/24\"]\nsenders = [" + repeat("\"@%d@\", ") + "]\n"},
		{"domains that nobody sends from", head + repeat("[dkim.\"d%d.example\"]\nrequire = true\n")},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "relay.toml")
			write(t, path, []byte(row.text))
			began := cpuTime(t)
			_, warnings, err := Load(path)
			took := cpuTime(t) - began
			var problems Problems
			if errors.As(err, &problems); len(problems) == 0 || len(problems) > maxProblems+1 || len(warnings) > maxProblems+1 {
				t.Errorf("%d problems, %d warnings", len(problems), len(warnings))
			}
			t.Logf("%v, %d problems, the first %v", took, len(problems), problems[0])
			if took > slower*10*time.Second { // less than one where nothing else runs
				t.Errorf("took %v of processor time", took)
			}
		})
	}
}
