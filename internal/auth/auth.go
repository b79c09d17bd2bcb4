// Package auth answers one question: is this the user's password? It spends
// the same time on every wrong answer, bounds the work that guessed passwords can cause,
// and slows and suspends those who guess.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// errBusy is returned when too many passwords wait to be hashed. The client may
// try again; nothing was counted against it.
var errBusy = errors.New("too many passwords wait to be checked")

// Authenticator checks passwords of configured users. It is safe for concurrent
// use.
type Authenticator struct {
	users   map[string]*user
	decoys  []*hash // one of each user, or a default; never empty
	decoyBy [sha256.Size]byte
	cfg     Config
	now     func() time.Time
	guesses counts
	gate    *gate
	key     [32]byte // of remembered passwords, this process only
}

type user struct {
	hash       *hash
	stamp      string
	disabled   bool
	remembered atomic.Pointer[remembered]
}

// remembered is a password that was right a while ago.
type remembered struct {
	mac   [sha256.Size]byte
	until time.Time
}

// Result is the answer to one attempt.
type Result struct {
	OK bool
	// Wait is how long the session waits before it answers; at most 10 s, 0
	// when OK.
	Wait time.Duration
	// Suspended is how long the address stays suspended, 0 when it is not. With
	// it OK is false, and the password was not looked at unless this attempt
	// was the one too many.
	Suspended time.Duration
	// Fault is what kept the shared store from counting, nil when all is well.
	// The counts of this process stood in; it is for the log only.
	Fault error
}

// New returns an Authenticator for users. store counts wrong passwords for all
// nodes together; with nil each process counts for itself. The error joins all
// problems of users, each beginning with its configuration key.
func New(users map[string]UserConfig, cfg Config, now func() time.Time, store WrongPasswords) (*Authenticator, error) {
	a := &Authenticator{
		users:   make(map[string]*user, len(users)),
		cfg:     cfg,
		now:     now,
		guesses: counts{shared: store, local: NewLocal(cfg, now)},
		gate:    newGate(cfg.concurrency()),
	}
	rand.Read(a.key[:])
	var problems []error
	hashes := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(users)) {
		h, err := parseHash(users[name].Password)
		if err != nil {
			problems = append(problems, fmt.Errorf("user.%q.password: %w", name, err))
			continue
		}
		a.users[name] = &user{hash: h, stamp: stampOf(users[name].Password), disabled: users[name].Disabled}
		a.decoys = append(a.decoys, h)
		hashes.Write([]byte(users[name].Password))
	}
	if len(a.decoys) == 0 {
		a.decoys = []*hash{{memory: argonMemory, passes: argonPasses, lanes: 1, salt: make([]byte, 16), sum: make([]byte, 32)}}
	}
	hashes.Sum(a.decoyBy[:0])
	return a, errors.Join(problems...)
}

// Stamp tells one password of a user from another without telling anything about
// it: a session whose user has another stamp by now was let in by a password
// that is no longer his. It is "" for who is unknown or disabled.
func (a *Authenticator) Stamp(name string) string {
	if u := a.users[name]; u != nil && !u.disabled {
		return u.stamp
	}
	return ""
}

// Disabled reports whether a user is configured and disabled.
func (a *Authenticator) Disabled(name string) bool {
	u := a.users[name]
	return u != nil && u.disabled
}

func stampOf(hash string) string {
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:8])
}

// Failures is the number of wrong passwords after which a session is closed.
func (a *Authenticator) Failures() int { return a.cfg.Failures }

// Verify checks the password that name sent from addr. Unknown, disabled and
// wrong cost the same time and give the same Result. The error is errBusy or
// that of ctx: nothing was decided, the client may try again (454).
func (a *Authenticator) Verify(ctx context.Context, addr netip.Addr, name, password string) (Result, error) {
	from, trusted := networkOf(addr), a.trusted(addr)
	u := a.users[name]
	mac := a.mac(password)
	if r, done := a.early(ctx, from, trusted, u, mac); done {
		return r, nil
	}
	leave, err := a.gate.enter(ctx, from)
	if err != nil {
		return Result{}, err
	}
	// While this attempt waited, another may have been found right or have
	// been the one too many.
	r, done := a.early(ctx, from, trusted, u, mac)
	if !done {
		r.OK = a.check(u, name, password)
	}
	leave()
	switch {
	case done:
		return r, nil
	case r.OK:
		a.remember(u, mac)
		return r, nil
	}
	return a.failed(ctx, from, trusted, name), nil
}

// early answers without hashing where it can.
func (a *Authenticator) early(ctx context.Context, from netip.Prefix, trusted bool, u *user, mac [sha256.Size]byte) (Result, bool) {
	var r Result
	if !trusted {
		if r.Suspended, r.Fault = a.guesses.suspended(ctx, from); r.Suspended > 0 {
			return r, true
		}
	}
	if u == nil || u.disabled {
		return r, false
	}
	known := u.remembered.Load()
	r.OK = known != nil && a.now().Before(known.until) && hmac.Equal(known.mac[:], mac[:])
	return r, r.OK
}

// check spends the time of one hash, whoever the user is.
func (a *Authenticator) check(u *user, name, password string) bool {
	if u == nil {
		a.decoy(name).matches(password)
		return false
	}
	return u.hash.matches(password) && !u.disabled
}

// decoy is the hash to spend time on for a name that does not exist. Where
// users' hashes differ in cost, a name always meets the same one, as a user
// would, also after a restart.
func (a *Authenticator) decoy(name string) *hash {
	m := hmac.New(sha256.New, a.decoyBy[:])
	m.Write([]byte(name))
	n := binary.BigEndian.Uint64(m.Sum(nil))
	return a.decoys[n%uint64(len(a.decoys))]
}

// failed counts a wrong password.
func (a *Authenticator) failed(ctx context.Context, from netip.Prefix, trusted bool, name string) Result {
	digest := sha256.Sum256([]byte(name))
	if trusted {
		from = netip.Prefix{}
	}
	c, fault := a.guesses.failed(ctx, from, hex.EncodeToString(digest[:16]))
	if trusted {
		return Result{Fault: fault}
	}
	return Result{Wait: a.wait(max(c.Addr, c.User)), Suspended: c.Suspended, Fault: fault}
}

// wait doubles with each wrong password in the period.
func (a *Authenticator) wait(failures int) time.Duration {
	shift := min(max(failures, 1)-1, 20)
	return min(a.cfg.Delay<<shift, a.cfg.MaxDelay)
}

func (a *Authenticator) mac(password string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, a.key[:])
	m.Write([]byte(password))
	m.Sum(sum[:0])
	return sum
}

func (a *Authenticator) remember(u *user, mac [sha256.Size]byte) {
	if a.cfg.Remember > 0 {
		u.remembered.Store(&remembered{mac, a.now().Add(a.cfg.Remember)})
	}
}

func (a *Authenticator) trusted(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(a.cfg.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// networkOf is what counts as one address: an IPv4 address, or an IPv6 /64.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}
