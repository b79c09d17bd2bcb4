package outlier

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// burst lets anna send for weeks from the office, and then a thief with her password
// from an address; it gives how many went out.
func burst(t *testing.T, r *rig, address string, submitter bool) (out int) {
	t.Helper()
	message := func(user, rcpt, ip string) *mail.Event {
		ev := event("mta", user, user+"@x.example")
		ev.ClientIP = ip
		if submitter {
			ev.User, ev.Submitter, ev.ClientIP, ev.SubmitterIP = "", "mta/"+user, "192.0.2.250", ip
		}
		to(ev, rcpt, false)
		return ev
	}
	for day := range 40 {
		for i := range 12 {
			r.at = r.at.Add(10 * time.Minute)
			r.Observe(message("anna", fmt.Sprintf("friend%d@y.example", (day*3+i)%30), "192.0.2.7"))
			r.Observe(message("bob", fmt.Sprintf("peer%d@y.example", (day+i)%30), "192.0.2.8"))
		}
		r.at = r.at.Add(24*time.Hour - 2*time.Hour)
	}
	r.changes = nil
	for i := range 100 {
		r.at = r.at.Add(20 * time.Second)
		ev := message("anna", fmt.Sprintf("victim%d@z.example", i), address)
		ev.ID = fmt.Sprint("t", i)
		if r.Admit(ev.ID, "mta", ev.User, ev.Submitter, "", "anna@x.example", 1).Refuse() {
			return out
		}
		r.Observe(ev)
		out++
	}
	return out
}

// TestAThiefFromElsewhereIsHeldSooner, be she a user or a submitter; and nobody is
// held for a journey.
func TestAThiefFromElsewhereIsHeldSooner(t *testing.T) {
	for _, submitter := range []bool{false, true} {
		near, far := newRig(t, func(c *Config) { c.Networks.Familiar = 0 }), newRig(t, nil)
		home, away := burst(t, near, "192.0.2.9", submitter), burst(t, far, "203.0.113.7", submitter)
		t.Logf("from the office %d messages went out, from elsewhere %d", home, away)
		if away > home*2/3 {
			t.Errorf("from the office %d messages went out, from elsewhere %d", home, away)
		}
		if last := far.changes[len(far.changes)-1]; !strings.Contains(last.Reason, "from 203.0.113.0/24, new for this user") {
			t.Errorf("%q", last.Reason)
		}
		none := newRig(t, func(c *Config) { c.Networks.Evidence = 0 })
		if n := burst(t, none, "203.0.113.7", submitter); n != home {
			t.Errorf("with evidence = 0 %d go out, and %d from the office", n, home)
		}
		r := newRig(t, nil)
		if n := burst(t, r, "192.0.2.9", submitter); n <= home || n > home*2 {
			t.Errorf("from the office, which is familiar, %d go out, and %d otherwise", n, home)
		}
		if last := r.changes[len(r.changes)-1]; !strings.Contains(last.Reason, "from 192.0.2.0/24, long used by this user") {
			t.Errorf("%q", last.Reason)
		}
		r.at, r.changes = r.at.Add(48*time.Hour), nil
		for i := range 5 {
			r.at = r.at.Add(time.Hour)
			ev := event("mta", "bob", "bob@x.example")
			ev.ClientIP = "198.51.100.4"
			to(ev, fmt.Sprintf("peer%d@y.example", i), false)
			r.Observe(ev)
		}
		if len(r.changes) > 0 {
			t.Errorf("a journey is an alarm: %+v", r.changes[0])
		}
	}
}

// TestThreeNewPlacesAlertByThemselves, and are known after a restart.
func TestThreeNewPlacesAlertByThemselves(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	burst(t, r, "192.0.2.9", false)
	r.keepNetworks(true)
	r.disk.Close()
	r.open(dir, nil, nil)
	r.at, r.changes = r.at.Add(5*24*time.Hour), nil
	for i := range 3 {
		r.at = r.at.Add(time.Hour)
		ev := event("mta", "bob", "bob@x.example")
		ev.ClientIP = fmt.Sprintf("203.0.%d.1", i)
		to(ev, "peer1@y.example", false)
		r.Observe(ev)
		if got, want := len(r.changes), max(0, i-1); got != want {
			t.Errorf("after %d places: %+v", i+1, r.changes)
		}
	}
	if s := r.state(User, "bob"); s != Alerted || r.changes[0].Rule != RuleNetworks {
		t.Errorf("%v, %+v", s, r.changes)
	}
}

// TestTableOfSystems: reasons name the AS; a reload reads a file that has changed and no
// other one, and one that is damaged changes nothing.
func TestTableOfSystems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "as.tsv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var cfg Config
	use := func(c *Config) {
		c.ASTable = file
		cfg = *c
	}
	write("203.0.113.0/24 64500\n192.0.2.0/24 64501\n")
	r := newRig(t, use)
	burst(t, r, "203.0.113.7", false)
	if last := r.changes[len(r.changes)-1]; !strings.Contains(last.Reason, "from 203.0.113.0/24 (AS64500), new for this user") {
		t.Errorf("%q", last.Reason)
	}
	was := r.places.as.table
	if err := r.SetConfig(cfg); err != nil || r.places.as.table != was {
		t.Errorf("the same file was read again: %v", err)
	}
	write("203.0.113.0/24 64500\n192.0.2.0/33 64501\n")
	cfg.Sensitivity = 5
	if err := r.SetConfig(cfg); err == nil || !strings.Contains(err.Error(), "outlier.as_table: "+file+": line 2: ") || r.places.as.table != was || r.rules.Sensitivity == 5 {
		t.Errorf("a damaged table: %v", err)
	}
	if err := TryFiles(cfg, Options{}); err == nil {
		t.Error("and nobody is told before")
	}
	write("203.0.113.0/24 64507 # another\n")
	if err := r.SetConfig(cfg); err != nil || r.places.as.table.Of(netip.MustParseAddr("203.0.113.1")) != 64507 {
		t.Errorf("a new table: %v", err)
	}
	cfg.ASTable = filepath.Dir(file)
	if err := r.SetConfig(cfg); err == nil {
		t.Error("a folder is a table")
	}
	cfg.ASTable = ""
	if err := r.SetConfig(cfg); err != nil || r.places.as.table != nil {
		t.Errorf("no table: %v", err)
	}
}

// TestListedAddressIsEvidence: it doubles a score, and does nothing to who sends as
// always.
func TestListedAddressIsEvidence(t *testing.T) {
	near, listed := newRig(t, nil), newRig(t, nil)
	listed.listed = func(client string, from netip.Addr) string {
		if client == "mta" && from == netip.MustParseAddr("192.0.2.9") {
			return "authbl.example (127.0.0.4)"
		}
		return ""
	}
	home, bad := burst(t, near, "192.0.2.9", false), burst(t, listed, "192.0.2.9", false)
	if bad > home*2/3 {
		t.Errorf("%d messages went out from a listed address, %d from another", bad, home)
	}
	if last := listed.changes[len(listed.changes)-1]; !strings.Contains(last.Reason, "; its address is listed by authbl.example (127.0.0.4)") || strings.Contains(last.Reason, "new for this user") {
		t.Errorf("%q", last.Reason)
	}
	off := newRig(t, func(c *Config) { c.Networks.Listed = 0 })
	off.listed = listed.listed
	if n := burst(t, off, "192.0.2.9", false); n != home {
		t.Errorf("with listed = 0 %d go out, and %d without a list", n, home)
	}
	calm := newRig(t, nil)
	calm.listed = func(string, netip.Addr) string { return "authbl.example" }
	burst(t, calm, "192.0.2.9", false)
	calm.at, calm.changes = calm.at.Add(48*time.Hour), nil
	for i := range 8 {
		calm.at = calm.at.Add(time.Hour)
		ev := event("mta", "bob", "bob@x.example")
		ev.ClientIP = "192.0.2.8"
		to(ev, fmt.Sprintf("peer%d@y.example", i), false)
		calm.Observe(ev)
	}
	if len(calm.changes) > 0 {
		t.Errorf("a listing by itself is an alarm: %+v", calm.changes[0])
	}
}

// TestDamagedNetworks are told to the log, and are no fault of the folder.
func TestDamagedNetworks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "networks"), []byte("Kaboom"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	e := openNetworks(dir, 100, false, slog.New(slog.NewTextHandler(&log, nil)))
	if e.memory == nil || !strings.Contains(log.String(), "networks of users begin anew") || !strings.Contains(log.String(), "networks.damaged-") {
		t.Errorf("the log has %q", &log)
	}
}
