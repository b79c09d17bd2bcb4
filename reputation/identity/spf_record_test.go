package identity

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"blitiri.com.ar/go/spf"
)

// TestWholeSPFRecordIsRead: one fault anywhere is a permerror, whatever stands
// in front of it (RFC 7208 s. 4.6).
func TestWholeSPFRecordIsRead(t *testing.T) {
	good := []string{
		"", "-all", "all", "+ALL", "ip4:192.0.2.0/24", "IP4:192.0.2.1/0", "ip6:2001:db8::/32", "ip6:::ffff:192.0.2.1", "ip6:::/0", "a", "mx", "ptr",
		"a/24", "a//64", "a/24//64", "a:x.example", "A:x.example/24//128", "mx:x.example//0", "ptr:x.example", "include:_spf.x.example", "include:x.example.",
		"exists:%{i}._spf.%{d2}", "exists:%{l1r-}.x.example", "include:%{d}", "include:%%.x.example", "a:%{ir}.%{v}.x.example/24", "redirect=x.example",
		"exp=explain.x.example", "all redirect=x.example", "moo=cow", "x-y.z_1=", "moo=%{c}%_x moo=y", "a:a-b.x-y", "exists:%{l=-}.x.example", "a=b", "include:.com",
		"?include:x.example ~a -mx", "  mx   -all  ", "exists:%{d1r}", "include:A.Example.ORG", "exists:%{L}.x.example",
	}
	for _, s := range good {
		if _, bad := parseSPF("v=spf1 " + s); len(bad) > 0 {
			t.Errorf("%q: %v", s, bad[0])
		}
	}
	wrong := []string{
		"ipv4:198.51.100.1", "ip4:", "ip4", "ip4:192.0.2", "ip4:192.0.2.300", "ip4:192.0.2.1/33", "ip4:192.0.2.1/", "ip4:192.0.2.1/08", "ip4:192.0.2.1,", "ip4:192.0.2.01",
		"ip4:2001:db8::1", "ip4:192.0.2.0/24/24", "ip4=192.0.2.1 ip4:", "ip6:192.0.2.1", "ip6:2001:db8::/129", "ip6:fe80::1%eth0", "ip6:2001:db8::/032", "all:x.example", "all.", "all/8",
		"a:", "+a:", "a/", "a//", "a/33", "a//129", "a/024", "a:x.example/", "a:x.example/-1", "a:localhost", "a:x.1", "a:x.example..", "a:x.-b", "a:x.b-", "mx:", "mx:/24", "ptr:", "ptr/24",
		"include", "include:", "include:x.example/24", "exists", "exists:", "exists:%{i", "exists:%i", "exists:%", "exists:%{x}.a", "exists:%{c}.a", "exists:%{d0}", "exists:%{dr1}", "exists:%{}", "exists:%{d;}",
		"redirect=", "redirect:x.example", "+redirect=x.example", "redirect=x.example redirect=y.example", "exp=a.example exp=b.example", "exp=", "-exp=a.example", "exp=%{c}.example",
		"moo", "1moo=x", "moo=%", "moo=%{x}", "-", "?", "++a", "\tmx", "mx\t-all", "a:bücher.example", "moo=ü", "a:x\u00a0.example", "-all;", `"mx`, "spf1", "v=spf1:x mx:", "-al l", "-all \x00", ",",
	}
	for _, s := range wrong {
		if _, bad := parseSPF("v=spf1 ip4:192.0.2.25 -all " + s); len(bad) == 0 {
			t.Errorf("%q was taken", s)
		}
	}
	for _, s := range []string{"", "v=spf10", "v=spf1\tmx", "v=spf2.0/pra", "spf1"} {
		if _, bad := parseSPF(s); len(bad) == 0 {
			t.Errorf("version %q was taken", s)
		}
	}
}

// oneRecord answers each question for TXT with one record and knows nothing else.
type oneRecord string

func (o oneRecord) LookupTXT(_ context.Context, name string) ([]string, error) {
	if name == "d.example" {
		return []string{string(o)}, nil
	}
	return []string{"v=spf1 ?all"}, nil
}

var errNoName = &net.DNSError{IsNotFound: true}

func (oneRecord) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "m.example"}}, nil
}

func (oneRecord) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return []net.IPAddr{{IP: net.IPv4(203, 0, 113, 200)}}, nil
}

func (oneRecord) LookupAddr(context.Context, string) ([]string, error) { return nil, errNoName }

// FuzzSPFRecord: what the parser takes, the library evaluates without a word
// about the syntax; terms and faults together are all words of the record.
func FuzzSPFRecord(f *testing.F) {
	for _, s := range []string{"v=spf1 ip4:192.0.2.1/24 -all", "v=spf1 a:%{d2r.}/24//64 redirect=%{d}", "v=spf1 moo=%{s} exp=x.example", "v=spf1 exists:%{l1r-=}.%%.x.example ~all", "V=SPF1 ptr:x.example ?mx//0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms, bad := parseSPF(s)
		if _, rest, _ := strings.Cut(s, " "); len(terms)+len(bad) != len(strings.FieldsFunc(rest, func(c rune) bool { return c == ' ' })) && len(spfRecords([]string{s})) == 1 {
			t.Fatalf("%d terms and %d faults in %q", len(terms), len(bad), s)
		}
		slash := slices.ContainsFunc(terms, func(t spfTerm) bool { return !strings.HasPrefix(t.name, "ip") && strings.Contains(t.value, "/") })
		if len(bad) > 0 || slash { // a slash in a name follows the grammar; the library knows none
			return
		}
		_, err := spf.CheckHostWithSender(net.IPv4(198, 51, 100, 77), "d.example", "a@d.example", spf.WithResolver(oneRecord(s)))
		for _, wrong := range []error{spf.ErrUnknownField, spf.ErrInvalidIP, spf.ErrInvalidMask, spf.ErrInvalidDomain} {
			if errors.Is(err, wrong) {
				t.Errorf("%q: %v", s, err)
			}
		}
		text := txtRecord("d.example", s)
		if !IsPublishable(text) {
			t.Errorf("%q cannot be published as %s", s, text)
		}
	})
}
