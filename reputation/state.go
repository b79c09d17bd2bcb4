package reputation

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postern/mail"
)

// Names of the files in the state folder.
const (
	listingsFile = "listings.json"
	historyFile  = "history.bin"
)

// savedListings is the file of a book.
type savedListings struct {
	Saved    time.Time    `json:"saved"`
	Last     int          `json:"last"` // ID
	Listings []Listing    `json:"listings"`
	Zones    []ZoneStatus `json:"zones"`
}

// readListings reads the reports from a state folder; none where there is no
// file.
func readListings(stateDir string) (savedListings, error) {
	var l savedListings
	err := readState(filepath.Join(stateDir, listingsFile), &l)
	return l, err
}

// load takes what an earlier monitor has saved. A file that cannot be read is
// logged and left alone until the next save.
func (m *Monitor) load() {
	if m.opts.StateDir == "" {
		return
	}
	saved, err := readListings(m.opts.StateDir)
	m.note("listings not read", err)
	m.book.last = saved.Last
	for i := range saved.Listings {
		m.book.listings = append(m.book.listings, &saved.Listings[i])
	}
	m.renewPausesLocked()
	m.note("history not read", m.history.load(m.file(historyFile)))
}

func (m *Monitor) save() {
	if m.opts.StateDir == "" {
		return
	}
	m.saveListings()
	m.mu.Lock()
	err := m.history.save(m.file(historyFile))
	m.mu.Unlock()
	m.note("history not saved", err)
}

func (m *Monitor) saveListings() {
	if m.opts.StateDir == "" {
		return
	}
	m.saving.Lock()
	defer m.saving.Unlock()
	file := savedListings{Saved: m.now(), Listings: m.Listings(), Zones: m.Zones()}
	m.mu.Lock()
	file.Last = m.book.last
	m.mu.Unlock()
	m.note("listings not saved", writeState(m.file(listingsFile), file))
}

func (m *Monitor) note(what string, err error) {
	if err != nil {
		m.opts.Log.Error(what, "err", err)
	}
}

// inherit takes over what the poller before knew of the zones that stay.
func (p *poller) inherit(before *poller) *poller {
	if before == nil {
		return p
	}
	for _, z := range p.zones {
		if old := zoneNamed(before.zones, z.name); old != nil {
			z.states, z.problem, z.polls = old.states, old.problem, old.polls
		}
	}
	return p
}

// restore takes what open listings say about zones, so that a new start tells of
// no listing twice.
func (p *poller) restore(ls []*Listing) {
	for _, l := range ls {
		if !l.Open() {
			continue
		}
		for i := range l.Evidence {
			e := &l.Evidence[i]
			z := zoneNamed(p.zones, e.Zone)
			if z != nil && e.Ended.IsZero() && z.states[l.Target] == nil {
				z.states[l.Target] = &polledTarget{listed: true, since: e.Time, codes: e.Codes, text: e.Text}
			}
		}
	}
}

// savedHistory is the file of a History.
type savedHistory struct {
	Entities map[entityKey]*entity
	Known    *pairSet
	Began    time.Time
}

// save writes the history, mode 0600, so that a crash leaves the old file or the
// new one.
func (h *History) save(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = gob.NewEncoder(f).Encode(savedHistory{h.entities, h.known, h.began})
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(f.Name(), file)
}

func (h *History) load(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var s savedHistory
	if err := gob.NewDecoder(io.LimitReader(f, maxState)).Decode(&s); err != nil {
		return fmt.Errorf("read %s: %w; move it away to begin anew", file, err)
	}
	if s.Known == nil || len(s.Known.Now) != pairWords || len(s.Known.Old) != pairWords || s.Entities == nil {
		return fmt.Errorf("read %s: not a history of this version; move it away to begin anew", file)
	}
	h.entities, h.known, h.began = canonical(s.Entities), s.Known, s.Began
	return nil
}

// canonical are entities under the one name of each sender and user, where an
// older version went by the letters as sent; of two that are one it keeps the
// larger.
func canonical(entities map[entityKey]*entity) map[entityKey]*entity {
	all := make(map[entityKey]*entity, len(entities))
	for k, e := range entities {
		switch k.Kind {
		case aSender:
			k.Name = string(mail.IdentityOf(k.Name))
		case aUser:
			k.Name = mail.User(k.Name, nil)
		}
		if old := all[k]; old == nil || e.recipients() > old.recipients() {
			all[k] = e
		}
	}
	return all
}

// recipients is how many an entity has had, the older ones decayed.
func (e *entity) recipients() float64 {
	n := e.Past.Recipients
	for i := range e.Hours {
		n += float64(e.Hours[i].Count.Recipients)
	}
	return n
}
