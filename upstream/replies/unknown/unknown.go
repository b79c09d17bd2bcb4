// Package unknown keeps the replies that nobody understood, so that an operator can
// say what they mean. They are masked, grouped by likeness and counted; memory and
// file are bounded.
package unknown

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/statefile"
	"postern/upstream/replies"
)

// FileName is the name of the file in the state folder.
const FileName = "unknown-replies.json"

const (
	maxGroups  = 300     // the one seen least is forgotten for a new one
	maxText    = 600     // octets of a reply that are kept
	maxDomains = 5       // whose receivers are named
	maxFile    = 4 << 20 // octets that are read back
	alike      = 0.7     // share of words that two replies must have in common
)

// Group is a number of replies that are alike.
type Group struct {
	ID      string    `json:"id"`
	Stage   string    `json:"stage"`
	Reply   string    `json:"reply"` // the first of them, masked
	Guess   string    `json:"guess,omitempty"`
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Domains []string  `json:"domains,omitempty"` // of recipients, the first few

	words []uint32 // hashes of its words, sorted
}

// Store holds the groups. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	groups  []*Group
	changed bool
	file    *statefile.File
}

// Open reads the groups of a file; one that is missing has none. One that cannot
// be read is set aside, which the error tells; the store can be used all the same.
func Open(file string) (*Store, error) {
	s := &Store{file: statefile.New(file, maxFile)}
	list, err := read(s.file)
	if err != nil {
		return s, s.file.SetAside(err)
	}
	s.groups = list
	return s, nil
}

// Read returns the groups of a file, those with the most replies first.
func Read(file string) ([]*Group, error) {
	return read(statefile.New(file, maxFile))
}

func read(file *statefile.File) ([]*Group, error) {
	b, err := file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []*Group
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(g *Group) bool { return g == nil || g.Reply == "" })
	for _, g := range list {
		g.words = wordsOf(g.Reply)
	}
	sortGroups(list)
	return list[:min(len(list), maxGroups)], nil
}

func sortGroups(list []*Group) {
	slices.SortFunc(list, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), cmp.Compare(a.ID, b.ID))
	})
}

// Save writes the groups to the file if they have changed since they were last saved.
func (s *Store) Save() error {
	s.mu.Lock()
	if !s.changed {
		s.mu.Unlock()
		return nil
	}
	s.changed = false
	b, err := json.Marshal(s.groups)
	s.mu.Unlock()
	if err == nil {
		err = s.file.Write(b)
	}
	if err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
	}
	return err
}

// Reply is a reply that was not understood.
type Reply struct {
	Time   time.Time
	Stage  string
	Text   string // with its code
	Domain string // of the recipient
	Guess  string
	Hide   []string // words that must not be kept, such as local-parts
}

// Add counts a reply.
func (s *Store) Add(r *Reply) {
	text := replies.Masked(r.Text, r.Hide...)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	words := wordsOf(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = true
	g := s.like(r.Stage, text, words)
	if g == nil {
		g = &Group{ID: idOf(r.Stage, text), Stage: r.Stage, Reply: text, Guess: r.Guess, First: r.Time, words: words}
		if len(s.groups) >= maxGroups {
			s.forgetOne()
		}
		s.groups = append(s.groups, g)
	}
	g.Count++
	g.Last = r.Time
	if r.Domain != "" && len(g.Domains) < maxDomains && !slices.Contains(g.Domains, r.Domain) {
		g.Domains = append(g.Domains, r.Domain)
	}
}

// like returns the group that a reply belongs to, or nil.
func (s *Store) like(stage, text string, words []uint32) *Group {
	for _, g := range s.groups {
		if g.Stage == stage && g.Reply[:min(3, len(g.Reply))] == text[:min(3, len(text))] && share(g.words, words) >= alike {
			return g
		}
	}
	return nil
}

// forgetOne makes room: of those that came least often the one of longest ago.
func (s *Store) forgetOne() {
	least := 0
	for i, g := range s.groups {
		if o := s.groups[least]; g.Count < o.Count || g.Count == o.Count && g.Last.Before(o.Last) {
			least = i
		}
	}
	s.groups = slices.Delete(s.groups, least, least+1)
}

// share is how many of the words of two replies are in both; 1 for none at all.
func share(a, b []uint32) float64 {
	both, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			both++
			i++
			j++
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	all := len(a) + len(b) - both
	if all == 0 {
		return 1
	}
	return float64(both) / float64(all)
}

func wordsOf(text string) []uint32 {
	var words []uint32
	for w := range strings.FieldsSeq(text) {
		h := fnv.New32a()
		h.Write([]byte(strings.Trim(w, ".,;:!?()[]<>\"'0123456789")))
		words = append(words, h.Sum32())
	}
	slices.Sort(words)
	return slices.Compact(words)
}

func idOf(stage, text string) string {
	h := fnv.New32a()
	h.Write([]byte(stage + " " + text))
	return fmt.Sprintf("%08x", h.Sum32())
}
