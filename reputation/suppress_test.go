package reputation

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/mail"
)

func TestSuppressionHoldsForItsStreamAndTime(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(0, 0, c.Now)
	s.Add("main", "a@x.example", "550 5.1.1 no such user\r\n", 0)
	if !s.Suppressed("main", "a@x.example") || s.Suppressed("side", "a@x.example") || s.Suppressed("main", "b@x.example") {
		t.Error("the wrong recipients are suppressed")
	}
	s.Add(AllStreams, "c@x.example", "by hand", time.Hour)
	if !s.Suppressed("side", "c@x.example") {
		t.Error("not suppressed for all streams")
	}
	list := s.List()
	if len(list) != 2 || list[1].Reason != "550 5.1.1 no such user??" {
		t.Errorf("list %+v", list)
	}
	c.Add(2 * time.Hour)
	if s.Suppressed("side", "c@x.example") || !s.Suppressed("main", "a@x.example") {
		t.Error("the wrong entry has ended")
	}
	c.Add(7 * 24 * time.Hour)
	if s.Suppressed("main", "a@x.example") || len(s.List()) != 0 {
		t.Error("still suppressed after 7 days")
	}
}

func TestSuppressionIsRemoved(t *testing.T) {
	s := NewSuppressions(0, 0, dnstest.NewClock().Now)
	for _, stream := range []string{"a", "b", "c"} {
		s.Add(stream, "x@x.example", "", 0)
	}
	if !s.Remove("a", "x@x.example") || s.Suppressed("a", "x@x.example") || !s.Suppressed("b", "x@x.example") {
		t.Error("removal of one stream")
	}
	if !s.Remove("", "x@x.example") || len(s.List()) != 0 {
		t.Error("removal of all streams")
	}
	if s.Remove("", "x@x.example") {
		t.Error("removed what was not there")
	}
}

func TestSuppressionsSurviveARestart(t *testing.T) {
	c, file := dnstest.NewClock(), filepath.Join(t.TempDir(), "s.json")
	s := NewSuppressions(0, 0, c.Now)
	if err := s.Save(file); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("an empty store was written")
	}
	s.Add("main", "a@x.example", "r", 0)
	s.Add("main", "short@x.example", "r", time.Minute)
	if err := s.Save(file); err != nil {
		t.Fatal(err)
	}
	c.Add(time.Hour)
	again := NewSuppressions(0, 0, c.Now)
	if err := again.Load(file); err != nil {
		t.Fatal(err)
	}
	if l := again.List(); len(l) != 1 || l[0].Recipient != "a@x.example" {
		t.Errorf("read back %+v", l)
	}
	if err := NewSuppressions(0, 0, c.Now).Load(file + ".missing"); err != nil {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewSuppressions(0, 0, c.Now).Load(file); err == nil {
		t.Error("a broken file was read")
	}
	if err := again.Save(filepath.Join(file, "no", "folder")); err != nil {
		t.Errorf("nothing changed, yet it was saved: %v", err)
	}
	again.Add("main", "b@x.example", "r", 0)
	if err := again.Save(filepath.Join(file, "no", "folder")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func TestSuppressionsStayBounded(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(time.Hour, 100, c.Now)
	for i := range 1000 {
		s.Add("main", mail.RecipientID(fmt.Sprintf("u%d@x.example", i)), "r", 0)
		c.Add(time.Second)
	}
	if n := len(s.entries); n > 100 {
		t.Errorf("%d entries", n)
	}
	if !s.Suppressed("main", "u999@x.example") {
		t.Error("the newest was forgotten")
	}
}

// TestCheckerRefusesOnlyWhatIsSure asks knot and a server that misbehaves about
// recipient domains.
func TestCheckerRefusesOnlyWhatIsSure(t *testing.T) {
	server := dnstest.Knot(t, map[string]string{"example": "ns A 127.0.0.1\ngood MX 10 ns\nnull MX 0 .\nmixed MX 0 .\nmixed MX 10 ns\na A 192.0.2.1\nsix AAAA 2001:db8::1\ntext TXT x\nalias CNAME good\n"})
	bad := dnstest.StartFaulty(t)
	cases := []struct {
		server, domain string
		want           DomainVerdict
	}{
		{server, "good.example", TakesMail},
		{server, "GOOD.example", TakesMail},
		{server, "a.example", TakesMail},
		{server, "six.example", TakesMail},
		{server, "alias.example", TakesMail},
		{server, "mixed.example", TakesMail},
		{server, "null.example", NullMX},
		{server, "text.example", NoDomain},
		{server, "gone.example", NoDomain},
		{server, "not-ours.test", TakesMail}, // REFUSED
		{server, "[192.0.2.1]", TakesMail},
		{server, "", TakesMail},
		{bad.Address, "x-servfail.example", TakesMail},
		{bad.Address, "x-refused.example", TakesMail},
		{bad.Address, "x-lame.example", TakesMail},
		{bad.Address, "x-lame-nxdomain.example", TakesMail},
		{bad.Address, "x-garbage.example", TakesMail},
		{bad.Address, "x-other-question.example", TakesMail},
		{bad.Address, "x-truncated-hangup.example", TakesMail},
		{bad.Address, "x-silent.example", TakesMail},
		{bad.Address, "x-nxdomain.example", NoDomain},
	}
	for _, c := range cases {
		timeout := 20 * time.Second
		if c.server == bad.Address {
			timeout = time.Second
		}
		r := newTestResolver(t, timeout, c.server)
		if got := NewChecker(r).Check(t.Context(), c.domain); got != c.want {
			t.Errorf("%s: %d, want %d", c.domain, got, c.want)
		}
	}
	r := newTestResolver(t, time.Second, bad.Address)
	for range 20 {
		NewChecker(r).Check(t.Context(), "x-nxdomain.cached.example")
	}
	if n := bad.Count("x-nxdomain.cached.example."); n != 1 {
		t.Errorf("asked %d times for one domain", n)
	}
}
