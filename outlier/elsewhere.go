package outlier

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/statefile"
	"postern/mail"
	"postern/outlier/detector"
	"postern/outlier/networks"
)

// Networks is the table [outlier.networks]: how much it counts that a user, or a submitter
// whom a client names, sends from a network that is new for it.
type Networks struct {
	// Evidence is the share of a score that is added to it while mail comes from a
	// network that the user has begun to use within a day and that no colleague used
	// before: 1 doubles the score. A quarter of that where a colleague did, a fifth for
	// a new EHLO name; 0 to 3, 0: nothing. Default: 1.
	Evidence float64 `toml:"evidence"`
	// Familiar is the share of a score that is taken from it while mail comes from a
	// network that the user has used for two weeks or longer, and nothing else about it
	// is new; 0 to 0.9, 0: nothing. Default: 0.28.
	Familiar float64 `toml:"familiar"`
	// Alarm is how many such networks within 24 hours alert by themselves; 0 to 8, 0:
	// never. Default: 3.
	Alarm int `toml:"alarm"`
	// Zones are blocklists that are asked about the address that a user, or a submitter
	// whom a client tells, sends from, with the keys and controls of
	// [reputation.dnsbl."ZONE"] where there is such a table. Blank: none. Default: blank.
	Zones []string `toml:"zones"`
	// Listed is the share of a score that is added to it while one lists that address;
	// 0 to 3, 0: nothing. Default: 1.
	Listed float64 `toml:"listed"`
}

// SetDefaults fills n with the documented defaults.
func (n *Networks) SetDefaults() {
	*n = Networks{Evidence: 1, Familiar: 0.28, Alarm: networks.Alarming, Listed: 1}
}

// Check reports every problem of the table.
func (n *Networks) Check(report func(key, problem string)) {
	between(report, "evidence", n.Evidence, 0, 3)
	between(report, "familiar", n.Familiar, 0, 0.9)
	between(report, "alarm", n.Alarm, 0, 8)
	between(report, "listed", n.Listed, 0, 3)
	for i, zone := range n.Zones {
		if !strings.Contains(zone, ".") || strings.ContainsAny(zone, " \t/:@") {
			report(fmt.Sprintf("zones.%d", i), "is not the name of a blocklist's zone; write as in \"authbl.example\"")
		}
	}
}

// elsewhere is what is known of where users are.
type elsewhere struct {
	memory *networks.Memory
	file   *statefile.File // nil: it is not kept
	saved  time.Time
	sign   networks.Sign // of the present event
	as     asFile
}

// useTable has networks compared by a table of autonomous systems.
func (e *elsewhere) useTable(as asFile) {
	e.as = as
	e.memory.UseTable(as.table)
}

// netsEvery is how often the memory of networks goes to the disk.
const netsEvery = 5 * time.Minute

// Bounds of its file, in octets: in all for few users, and each.
const (
	maxNetsFile = 256 << 20
	maxNetsUser = 2 << 10
)

// openNetworks reads what an earlier watch has left in a folder, "" for none. A file
// that is damaged is set aside, which log is told, and the memory begins anew.
func openNetworks(dir string, most int, shared bool, log *slog.Logger) elsewhere {
	e := elsewhere{memory: networks.New(most)}
	if shared {
		defer e.memory.Share()
	}
	if dir == "" {
		return e
	}
	e.file = statefile.New(filepath.Join(dir, "networks"), max(maxNetsFile, int64(most)*maxNetsUser))
	b, err := e.file.Read()
	if err == nil {
		err = e.memory.Decode(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("networks of users begin anew", "err", e.file.SetAside(err))
	}
	return e
}

// saveNetworks writes the memory where it is due, or in any case. Mail goes on
// meanwhile: it is copied in pieces, and the lock is not held for the rest.
func (w *Watch) saveNetworks(now time.Time, anyway bool) error {
	w.mu.Lock()
	e := &w.places
	if e.file == nil || !anyway && now.Sub(e.saved) < netsEvery {
		w.mu.Unlock()
		return nil
	}
	e.saved = now
	memory := e.memory.Copy(func() {
		w.mu.Unlock()
		w.mu.Lock()
	})
	w.mu.Unlock()
	b, err := memory.Encode()
	if err != nil {
		return err
	}
	return e.file.Write(b)
}

// locate notes from where the party of an event, a user or submitter, has sent, and takes
// the step that follows from many new places by themselves.
func (w *Watch) locate(now time.Time, ev *mail.Event, party string) {
	w.places.sign = networks.Sign{}
	from, ehlo := networks.Origin(ev)
	if party == "" || ev.Rule == "client" {
		return
	}
	s := w.places.memory.Seen(ev.Client, party, from, ehlo, now.Unix())
	if w.listed != nil && w.rules.Networks.Listed > 0 {
		s.Listed = w.listed(ev.Client, from)
	}
	w.places.sign = s
	if most := w.rules.Networks.Alarm; most > 0 && s.Within >= most {
		w.plainly(now, detector.PartyWho(party), ev.Client, Alerted, RuleNetworks,
			fmt.Sprintf("mail from %d networks within 24 h that are new and nobody else's, now %s", s.Within, placeWords(&s)))
	}
}

// placeWords names a network, and its AS where that is known.
func placeWords(s *networks.Sign) string {
	if s.AS == 0 {
		return s.Network.String()
	}
	return fmt.Sprintf("%s (AS%d)", s.Network, s.AS)
}

// isFamiliar reports whether an event comes from a network that its user has long used, and
// nothing else about it is new.
func (r *rules) isFamiliar(s *networks.Sign) bool {
	return s.Familiar && s.Evidence == 0 && s.Listed == "" && r.Networks.Familiar > 0
}

// fromElsewhere is what the network of an event adds to the score of k, or takes from it.
func (r *rules) fromElsewhere(s *networks.Sign, k detector.Who, f *detector.Finding) (more float64) {
	if f.Score == 0 || f.Names || k.Scope != User && k.Scope != Mailbox && k.Scope != UserSender {
		return 0
	}
	of := float64(s.Evidence) * r.Networks.Evidence
	if r.isFamiliar(s) {
		of = -r.Networks.Familiar
	}
	if s.Listed != "" {
		of += r.Networks.Listed
	}
	return float64(f.Score) * of
}

// elsewhereWords say the same; "" where nothing is added or taken.
func (r *rules) elsewhereWords(s *networks.Sign, k detector.Who, f *detector.Finding) (words string) {
	if r.fromElsewhere(s, k, f) == 0 {
		return ""
	}
	switch of := float64(s.Evidence) * r.Networks.Evidence; {
	case r.isFamiliar(s):
		words = fmt.Sprintf("; from %s, long used by this user", placeWords(s))
	case of == 0:
	case !s.New:
		words = "; with an EHLO name that is new for this user"
	default:
		words = fmt.Sprintf("; from %s, new for this user", placeWords(s))
		if s.Colleagues {
			words += ", known of colleagues"
		}
	}
	if s.Listed != "" {
		words += "; its address is listed by " + s.Listed
	}
	return words
}
