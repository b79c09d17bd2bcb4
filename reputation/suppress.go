package reputation

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/resolve"
	"postern/internal/statefile"
	"postern/internal/text"
	"postern/mail"
)

// Suppressions remembers recipients that do not exist, per stream, so that they
// are refused without troubling the upstream again. One refusal may come from
// trouble of the receiver: it holds for an hour, and only a second one for the whole
// time. It is safe for concurrent use; beyond its bound, what ends soonest is
// forgotten first.
type Suppressions struct {
	keep time.Duration
	max  int
	now  func() time.Time

	mu      sync.RWMutex
	entries map[suppressed]Suppression
	waves   waves
	changed bool
	file    *statefile.File // that it was last kept in
}

type suppressed struct {
	stream    string
	recipient mail.RecipientID
}

// Suppression is one recipient that is refused, or was refused once.
type Suppression struct {
	Stream    string           `json:"stream"` // "*" for all streams
	Recipient mail.RecipientID `json:"recipient"`
	Since     time.Time        `json:"since"`
	Until     time.Time        `json:"until"`
	Reason    string           `json:"reason"` // the reply, or who added it
	// Doubt: only one refusal was heard. It is remembered until keep after Since,
	// longer than it holds.
	Doubt bool `json:"doubt,omitempty"`
	// Heard: a reply said so; otherwise somebody added it.
	Heard bool `json:"heard,omitempty"`
}

// firstFor is how long one refusal alone holds.
const firstFor = time.Hour

// AllStreams, in place of the name of a stream, makes a suppression hold for every stream.
const AllStreams = "*"

// NewSuppressions makes an empty store. keep is how long an entry holds, 0 for
// 7 days; max how many there are, 0 for 200,000.
func NewSuppressions(keep time.Duration, max int, now func() time.Time) *Suppressions {
	return &Suppressions{keep: cmp.Or(keep, 7*24*time.Hour), max: cmp.Or(max, 200_000), now: now, entries: map[suppressed]Suppression{}, waves: waves{domains: map[string]*wave{}}}
}

// RecipientReply is what an upstream said of one recipient.
type RecipientReply struct {
	Stream    string
	Recipient mail.RecipientID
	Domain    string // of the recipient
	Unknown   bool   // there is no such recipient
	Taken     bool   // the message was taken for it
	Doubt     bool   // the reply hints at trouble, or is not the receiver's own: it is counted, and suppresses nobody
	Reply     string
}

// Heard takes what an upstream said into account. A recipient that is unknown is suppressed
// for an hour, and for the whole time when it is refused once more after that hour, for
// another message. Where a wave of such refusals comes from one domain, none of its
// recipients is suppressed, and those suppressed since it began are released. The event is
// not nil when a wave begins.
func (s *Suppressions) Heard(v *RecipientReply) *Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	on, began := s.waves.note(v.Domain, v.Unknown, now)
	if began {
		s.forgetSince(v.Domain, now.Add(-waveMinutes*time.Minute))
	}
	switch k := (suppressed{v.Stream, v.Recipient}); {
	case v.Unknown && !v.Doubt && !on:
		s.refused(k, v.Reply, now)
	case v.Taken && s.entries[k].Doubt:
		delete(s.entries, k)
		s.changed = true
	}
	if !began {
		return nil
	}
	return waveEvent(v.Domain, now)
}

// refused suppresses a recipient; s.mu is held.
func (s *Suppressions) refused(k suppressed, reply string, now time.Time) {
	e := Suppression{Since: now, Until: now.Add(min(firstFor, s.keep)), Reason: reply, Doubt: true, Heard: true}
	switch before, known := s.entries[k]; {
	case known && now.Before(before.Until): // this message was on its way when the first was heard
		return
	case known && before.Doubt && now.Before(before.Since.Add(s.keep)):
		e.Until, e.Doubt = now.Add(s.keep), false
	}
	s.put(k, e, now)
}

// forgetSince takes back what was heard of a domain since a time: first refusals
// altogether, second ones so that they were first ones; s.mu is held.
func (s *Suppressions) forgetSince(domain string, since time.Time) {
	for k, e := range s.entries {
		if !e.Heard || e.Since.Before(since) || domainOf(k.recipient) != domain {
			continue
		}
		s.changed = true
		if e.Doubt {
			delete(s.entries, k)
			continue
		}
		e.Doubt, e.Until = true, e.Since
		s.entries[k] = e
	}
}

func domainOf(r mail.RecipientID) string { return string(r[strings.LastIndexByte(string(r), '@')+1:]) }

// SetKeep changes how long new entries hold, for a reload.
func (s *Suppressions) SetKeep(keep time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = cmp.Or(keep, 7*24*time.Hour)
}

// Suppressed reports whether a recipient is to be refused for mail of a stream.
func (s *Suppressions) Suppressed(stream string, recipient mail.RecipientID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now()
	return now.Before(s.entries[suppressed{stream, recipient}].Until) || now.Before(s.entries[suppressed{AllStreams, recipient}].Until)
}

// Add remembers a recipient for the time keep; 0 stands for the time that NewSuppressions
// or SetKeep got.
func (s *Suppressions) Add(stream string, recipient mail.RecipientID, reason string, keep time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.put(suppressed{stream, recipient}, Suppression{Since: now, Until: now.Add(cmp.Or(keep, s.keep)), Reason: reason}, now)
}

// Restore puts entries of List back.
func (s *Suppressions) Restore(list []Suppression) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range list {
		s.put(suppressed{e.Stream, e.Recipient}, e, s.now())
	}
}

func (s *Suppressions) put(k suppressed, e Suppression, now time.Time) {
	if _, known := s.entries[k]; !known && len(s.entries) >= s.max {
		s.makeRoom(now)
	}
	e.Stream, e.Recipient, e.Reason = k.stream, k.recipient, text.Clip(resolve.Printable(e.Reason), 200)
	s.entries[k] = e
	s.changed = true
}

// over reports whether an entry has ended and need not be remembered.
func (s *Suppressions) over(e Suppression, now time.Time) bool {
	return !now.Before(e.Until) && !(e.Doubt && now.Before(e.Since.Add(s.keep)))
}

// Remove forgets a recipient, and reports whether it was there. A stream of ""
// stands for any.
func (s *Suppressions) Remove(stream string, recipient mail.RecipientID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.entries)
	if stream != "" {
		delete(s.entries, suppressed{stream, recipient})
	} else {
		maps.DeleteFunc(s.entries, func(k suppressed, _ Suppression) bool { return k.recipient == recipient })
	}
	s.changed = s.changed || len(s.entries) < n
	return len(s.entries) < n
}

// List returns what holds now, by stream and recipient.
func (s *Suppressions) List() []Suppression {
	return s.list(func(e Suppression, now time.Time) bool { return now.Before(e.Until) })
}

func (s *Suppressions) list(keep func(Suppression, time.Time) bool) []Suppression {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now()
	list := make([]Suppression, 0, len(s.entries))
	for _, e := range s.entries {
		if keep(e, now) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Suppression) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Recipient, b.Recipient))
	})
	return list
}

// makeRoom forgets what is over, or else the tenth that ends soonest.
func (s *Suppressions) makeRoom(now time.Time) {
	maps.DeleteFunc(s.entries, func(_ suppressed, e Suppression) bool { return s.over(e, now) })
	if len(s.entries) < s.max {
		return
	}
	dropEarliest(s.entries, 10, func(e Suppression) time.Time { return e.Until })
}

// dropEarliest deletes from a map that is not empty one value in share, at least one:
// those whose time comes first.
func dropEarliest[K comparable, V any](m map[K]V, share int, timeOf func(V) time.Time) {
	times := make([]time.Time, 0, len(m))
	for _, v := range m {
		times = append(times, timeOf(v))
	}
	slices.SortFunc(times, time.Time.Compare)
	last, left := times[len(times)/share], len(times)/share+1
	for k, v := range m {
		if left > 0 && !timeOf(v).After(last) {
			delete(m, k)
			left--
		}
	}
}

// Load reads what Save wrote; a missing file counts as an empty one. A file that cannot be
// read is set aside under another name, as the error says.
func (s *Suppressions) Load(file string) error {
	list, err := readState[[]Suppression](s.at(file))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, e := range list {
		// An older version went by the letters as sent; of two the longer holds.
		e.Recipient = mail.RecipientOf(string(e.Recipient))
		k := suppressed{e.Stream, e.Recipient}
		if !s.over(e, now) && len(s.entries) < s.max && e.Until.After(s.entries[k].Until) {
			s.entries[k] = e
		}
	}
	return nil
}

// at is the file of that name.
func (s *Suppressions) at(name string) *statefile.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || s.file.Name() != name {
		s.file = statefile.New(name, maxState)
	}
	return s.file
}

// Save writes the store to a file when it has changed since it was last saved.
func (s *Suppressions) Save(file string) error {
	s.mu.Lock()
	changed := s.changed
	s.changed = false
	s.mu.Unlock()
	if !changed {
		return nil
	}
	err := writeState(s.at(file), s.list(func(e Suppression, now time.Time) bool { return !s.over(e, now) }))
	if err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
	}
	return err
}

// maxState bounds what is read back.
const maxState = 256 << 20

// readState reads a file of JSON, the zero T where there is none. One that
// cannot be read is set aside.
func readState[T any](file *statefile.File) (T, error) {
	var v, none T
	b, err := file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return none, file.SetAside(err)
	}
	return v, nil
}

// writeState writes v as JSON.
func writeState(file *statefile.File, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return file.Write(b)
}
