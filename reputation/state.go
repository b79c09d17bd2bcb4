package reputation

import (
	"bytes"
	"encoding/gob"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/statefile"
	"postern/mail"
	"postern/reputation/dnsbl"
)

// Names of the files in the state folder.
const (
	listingsFile = "listings.json"
	historyFile  = "history.bin"
)

// savedListings is the file of a book.
type savedListings struct {
	Saved    time.Time          `json:"saved"`
	Last     int                `json:"last"` // ID
	Listings []Listing          `json:"listings"`
	Zones    []dnsbl.ZoneStatus `json:"zones"`
}

// readListings reads the reports from a state folder; none where there is no
// file.
func readListings(file *statefile.File) (savedListings, error) {
	return readState[savedListings](file)
}

// load takes what an earlier monitor has saved. A file that cannot be read is
// set aside, and a line of the log says so.
func (m *Monitor) load() {
	if m.opts.StateDir == "" {
		return
	}
	m.files.listings = statefile.New(filepath.Join(m.opts.StateDir, listingsFile), maxState)
	m.files.history = statefile.New(filepath.Join(m.opts.StateDir, historyFile), maxState)
	saved, err := readListings(m.files.listings)
	m.note("listings begin anew", err)
	m.book.last = saved.Last
	for i := range saved.Listings {
		m.book.listings = append(m.book.listings, &saved.Listings[i])
		m.pauseAgain(&saved.Listings[i])
	}
	m.note("the history of suspects begins anew", m.history.load(m.files.history))
}

// pauseAgain renews the pauses of a listing that was saved. An earlier release
// paused by what receivers said alone; such a pause is over.
func (m *Monitor) pauseAgain(l *Listing) {
	l.Confirmed = l.Confirmed || slices.ContainsFunc(l.Evidence, func(e Evidence) bool { return e.Zone != "" })
	if !l.Open() || l.Released {
		return
	}
	if l.zoneWeight() == 0 {
		l.Paused = nil
	}
	for _, s := range l.Paused {
		m.backoff.Pause(s, m.now().Add(pauseFor))
	}
}

func (m *Monitor) save() {
	if m.opts.StateDir == "" {
		return
	}
	m.saveListings()
	m.mu.Lock()
	err := m.history.save(m.files.history)
	m.mu.Unlock()
	m.saved("history", err)
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
	m.saved("listings", writeState(m.files.listings, file))
}

// saved reports how the writing of a file went; one that failed is due again
// soon.
func (m *Monitor) saved(part string, err error) {
	if err != nil {
		m.unsaved.Store(true)
	}
	m.opts.Report(part, err)
}

func (m *Monitor) note(what string, err error) {
	if err != nil {
		m.opts.Log.Error(what, "err", err)
	}
}

// restore takes what open listings say about zones, so that a new start tells of
// no listing twice.
func restore(p *dnsbl.Poller, ls []*Listing) {
	for _, l := range ls {
		if !l.Open() {
			continue
		}
		for i := range l.Evidence {
			e := &l.Evidence[i]
			z := p.ZoneNamed(e.Zone)
			if z != nil && e.Ended.IsZero() && !z.Knows(l.Target) {
				z.Mark(l.Target, e.Time, e.Codes, e.Text)
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

// save writes the history.
func (h *History) save(file *statefile.File) error {
	return file.Replace(func(w io.Writer) error {
		return gob.NewEncoder(w).Encode(savedHistory{h.entities, h.known, h.began})
	})
}

// load reads the history; one that cannot be read is set aside.
func (h *History) load(file *statefile.File) error {
	b, err := file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s savedHistory
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(b)).Decode(&s)
	}
	if err == nil && (s.Known == nil || len(s.Known.Now) != pairWords || len(s.Known.Old) != pairWords || s.Entities == nil) {
		err = errors.New("not a history of this version")
	}
	if err != nil {
		return file.SetAside(err)
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
			if _, is := mail.SubmitterOf(k.Name); !is {
				k.Name = mail.User(k.Name, nil)
			}
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
