// Package recipients hashes the addresses that windows of distinct recipients count.
//
// A window remembers hashes, not addresses, and beyond a number of them a sample.
// Whoever could compute a hash could choose addresses that the sample leaves out,
// and be held by no limit; so the hashes are keyed by a secret of the deployment.
package recipients

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/secret"
	"postern/internal/statefile"
)

// Secret keys the hashes of recipients: whoever does not know it cannot choose addresses
// that a window of distinct recipients leaves out, or that collide. All nodes that share a
// store have the same. The zero value does not work; see NewSecret and LoadSecret. It is
// safe for concurrent use.
type Secret struct {
	file  *statefile.File // nil: it is not kept
	now   func() time.Time
	held  atomic.Pointer[heldSecret]
	taken sync.Mutex // of what is written to held and file
	saved bool       // held is in file
}

// heldSecret is what is known of secrets at a time.
type heldSecret struct {
	current *hashKey
	// former is the secret before that, nil for none; what was counted under it
	// is looked up until formerEnds.
	former     *hashKey
	formerEnds time.Time
	// plainEnds is the time until which hashes without a secret are looked up,
	// which earlier releases counted.
	plainEnds time.Time
}

// savedSecret is the text of the file.
type savedSecret struct {
	Secret     string    `json:"secret"`
	PlainEnds  time.Time `json:"unkeyed_until"`
	Former     string    `json:"former,omitempty"`
	FormerEnds time.Time `json:"former_until,omitzero"`
}

// Longest is the longest window of any limit: for so long what was counted under
// another secret is looked up.
const Longest = 31 * 24 * time.Hour

// Hashes are what one recipient may be counted under.
type Hashes struct {
	Distinct uint64 // under the secret in force; never 0 or 1
	Former   uint64 // under the one before it; 0 for none
	Plain    uint64 // without a secret, as earlier releases did; 0: no longer
}

// NewSecret draws a secret that is kept nowhere; now nil is time.Now.
func NewSecret(now func() time.Time) *Secret {
	if now == nil {
		now = time.Now
	}
	s := &Secret{now: now}
	s.held.Store(&heldSecret{current: drawKey(), plainEnds: now().Add(Longest)})
	return s
}

// LoadSecret reads the secret of a file, or draws one and writes it there, mode
// 0600. One that others could read is replaced, and what was counted under it
// still is. The error, if any, is for the log: the secret works all the same,
// and counts that it does not know stay in force until they have passed.
func LoadSecret(path string, now func() time.Time) (*Secret, error) {
	s := NewSecret(now)
	s.file = statefile.New(path, secret.Max)
	b, err := s.file.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, s.Keep()
	case err == nil:
		err = s.parse(b)
	}
	if err != nil {
		return s, errors.Join(fmt.Errorf("a new secret for recipients: %w", s.file.SetAside(err)), s.Keep())
	}
	if problem := secret.Check(path); problem != nil {
		s.take(drawKey())
		return s, errors.Join(fmt.Errorf("a new secret for recipients: %w", problem), s.Keep())
	}
	s.saved = true
	return s, nil
}

// parse takes over the text of a file. No error quotes anything of it.
func (s *Secret) parse(b []byte) error {
	var saved savedSecret
	if json.Unmarshal(b, &saved) != nil {
		return errors.New("is not a secret of this version")
	}
	h := heldSecret{plainEnds: saved.PlainEnds, formerEnds: saved.FormerEnds, current: parseSecret(saved.Secret)}
	if h.current == nil {
		return errors.New("is not a secret of this version")
	}
	h.former = parseSecret(saved.Former)
	s.held.Store(&h)
	return nil
}

// Keep writes the secret to its file, where it has a file, unless it stands there already.
// Call it now and then: the secret of another node may have replaced this one's, or the
// disk was full.
func (s *Secret) Keep() error {
	s.taken.Lock()
	defer s.taken.Unlock()
	if s.file == nil || s.saved {
		return nil
	}
	h := s.held.Load()
	saved := savedSecret{Secret: h.current.text(), PlainEnds: h.plainEnds}
	if h.former != nil {
		saved.Former, saved.FormerEnds = h.former.text(), h.formerEnds
	}
	b, err := json.Marshal(&saved)
	if err != nil {
		return err
	}
	if err := s.file.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("save the secret for recipients: %w", err)
	}
	s.saved = true
	return nil
}

// take puts another secret in force; the one until now becomes the former.
func (s *Secret) take(k *hashKey) {
	old := s.held.Load()
	s.saved = false
	s.held.Store(&heldSecret{
		current: k, former: old.current, formerEnds: s.now().Add(Longest), plainEnds: old.plainEnds,
	})
}

// Agree gives the secret to a store that has none, and takes the secret of a store that has
// one; agree is the method Agree of a ratelimit.Store. The error is the store's.
func (s *Secret) Agree(ctx context.Context, agree func(ctx context.Context, own, instead string) (string, error)) error {
	s.taken.Lock()
	defer s.taken.Unlock()
	own := s.held.Load().current
	text, err := agree(ctx, own.text(), "")
	if err == nil && parseSecret(text) == nil {
		text, err = agree(ctx, own.text(), text) // somebody has spoilt it
	}
	if err != nil {
		return err
	}
	theirs := parseSecret(text)
	if theirs == nil {
		return errors.New("the secret for recipients in the store is damaged")
	}
	if theirs.key != own.key {
		s.take(theirs)
	}
	return nil
}

// Hashes returns what a recipient may be counted under at the time now.
func (s *Secret) Hashes(address string, now time.Time) (r Hashes) {
	h := s.held.Load()
	r.Distinct = h.current.hash(address)
	if h.former != nil && now.Before(h.formerEnds) {
		r.Former = h.former.hash(address)
	}
	if now.Before(h.plainEnds) {
		r.Plain = plainHash(address)
	}
	return r
}

// plainHash is what releases without a secret counted.
func plainHash(address string) uint64 {
	sum := sha256.Sum256([]byte(address))
	return max(1, binary.LittleEndian.Uint64(sum[:8]))
}

// hashKey is HMAC-SHA-256 with a key.
type hashKey struct {
	key  [32]byte
	macs sync.Pool // of *keyedMAC
}

type keyedMAC struct {
	mac hash.Hash
	buf []byte
}

func newHashKey(key [32]byte) *hashKey {
	k := &hashKey{key: key}
	k.macs.New = func() any { return &keyedMAC{mac: hmac.New(sha256.New, k.key[:])} }
	return k
}

func drawKey() *hashKey {
	var key [32]byte
	rand.Read(key[:]) // never fails since Go 1.24
	return newHashKey(key)
}

// parseSecret reads what text gives; nil for anything else.
func parseSecret(text string) *hashKey {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 32 {
		return nil
	}
	return newHashKey([32]byte(b))
}

func (k *hashKey) text() string { return hex.EncodeToString(k.key[:]) }

// hash is never 0.
func (k *hashKey) hash(address string) uint64 {
	m := k.macs.Get().(*keyedMAC)
	defer k.macs.Put(m)
	m.mac.Reset()
	m.buf = append(m.buf[:0], address...)
	m.mac.Write(m.buf)
	m.buf = m.mac.Sum(m.buf[:0])
	return max(2, binary.LittleEndian.Uint64(m.buf)) // the lowest bit is the store's
}
