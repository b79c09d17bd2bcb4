package astable

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

func read(t testing.TB, text string) *Table {
	t.Helper()
	table, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestFormsOfLines: three forms, the smaller network in a larger one, and what is no AS.
func TestFormsOfLines(t *testing.T) {
	table := read(t, `# a table
192.0.2.0/24 64500   # documentation
192.0.2.128/25 AS64501
198.51.100.0	24	64502_64503
203.0.113.5	203.0.113.20	64504	DE	EXAMPLE of a range # 7
203.0.113.64	203.0.113.127	0	None	Not routed
2001:db8::/32 64505,64506

2001:db8:ffff::	2001:db8:ffff:ffff:ffff:ffff:ffff:ffff	64507	US	X
::ffff:100.64.0.0/106 64508
255.255.255.0 255.255.255.255 64509
`)
	for text, want := range map[string]uint32{
		"192.0.2.1": 64500, "192.0.2.127": 64500, "192.0.2.128": 64501, "192.0.3.0": 0,
		"198.51.100.77": 64502, "203.0.113.4": 0, "203.0.113.5": 64504, "203.0.113.20": 64504, "203.0.113.21": 0, "203.0.113.64": 0,
		"2001:db8::1": 64505, "2001:db8:ffff::1": 64507, "2001:db9::": 0, "::ffff:192.0.2.1": 64500, "100.64.3.3": 64508,
		"255.255.255.255": 64509, "fe80::1%eth0": 0,
	} {
		if got := table.Of(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is in AS%d, want AS%d", text, got, want)
		}
	}
	if (*Table)(nil).Of(netip.MustParseAddr("192.0.2.1")) != 0 || table.Of(netip.Addr{}) != 0 || (*Table)(nil).Len() != 0 {
		t.Error("what knows nothing says something")
	}
}

func TestWhatIsNoTable(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "no network stands in it",
		"# nothing\n\n":             "no network stands in it",
		"192.0.2.0/24 0\n":          "no network stands in it",
		"192.0.2.0/24\n":            `line 1: "" is not the number of an AS`,
		"192.0.2.0/24 x":            `line 1: "x" is not`,
		"192.0.2.0/24 4294967296":   "is not the number of an AS",
		"192.0.2.0/24 -1":           "is not the number of an AS",
		"\n192.0.2.0/33 1":          `line 2: "192.0.2.0/33" is neither a network nor an address`,
		"192.0.2.0 33 1":            `"33" is not the length of a network`,
		"192.0.2.0 192.0.1.0 1":     "is not a range",
		"192.0.2.0 2001:db8:: 1":    "is not a range",
		"192.0.2.0 a 1":             `"a" is neither the length`,
		"fe80::1%eth0 fe80::2 1":    "is neither a network nor an address",
		"0.0.0.0/0 1":               "0.0.0.0/0 is too wide for one AS",
		"0.0.0.0 255.255.255.255 1": "too wide",
		"128.0.0.0 1 64500":         "too wide",
		"::ffff:0.0.0.0/95 1":       "too wide",
		"2000::/3 1":                "2000::/3 is too wide",
		"192.0.2.0/24 " + strings.Repeat("1", maxLine): "a line has over",
	} {
		if table, err := Read(strings.NewReader(text)); err == nil || table != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// worldTable has a million networks, as the routers of the Internet have.
func worldTable(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d.%d.%d.0/24\t%d\n", 1+i>>16, i>>8&255, i&255, 1+i%70_000)
	}
	return b.String()
}

// TestMemoryOfATable: a million networks, measured so, take 33 MiB.
func TestMemoryOfATable(t *testing.T) {
	const many = 200_000
	text := worldTable(many)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	table := read(t, text)
	took := heap() - before
	t.Logf("%d networks take %d KiB", table.Len(), took>>10)
	if table.Len() != many || took > many*64 {
		t.Errorf("%d networks take %d octets", table.Len(), took)
	}
	runtime.KeepAlive(text)
}

func BenchmarkRead(b *testing.B) {
	text := worldTable(100_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		read(b, text)
	}
}

func BenchmarkOf(b *testing.B) {
	table := read(b, worldTable(1_000_000))
	a := netip.MustParseAddr("9.9.9.9")
	for b.Loop() {
		table.Of(a)
	}
}

// FuzzRead: no line is read as more than it says.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"192.0.2.0/24 64500\n", "192.0.2.1\t192.0.2.9\tAS1\tDE\tX", "2001:db8:: 32 1_2", "::ffff:1.2.3.4/120 7", "1.0.0.0 ffff:: 1", "# x\n::1/128 4294967295"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for p, as := range table.networks.All() {
			if as == 0 || p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6 || table.Of(p.Addr()) == 0 {
				t.Errorf("%s in AS%d", p, as)
			}
		}
	})
}
