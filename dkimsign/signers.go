// Package dkimsign signs messages with DKIM (RFC 6376, RFC 8463): it chooses keys by
// domain and returns DKIM-Signature fields.
//
// A signature says that a domain answers for a message. It covers a hash of the body
// and the header fields that it names; a receiver looks the public key up in DNS and
// computes both anew. Whatever is changed afterwards breaks it, so signing is the
// last thing that happens to a message. Servers on the way may fold lines anew and
// change white space; everything is therefore in relaxed canonical form. A field that
// a signature names once too often cannot be added by others, which is why From,
// Subject and the like are named so.
//
// A body passes a BodyHash while it arrives; Domain.Sign then needs only the header
// block.
package dkimsign

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/openssl"
	"postern/internal/shell"
	"postern/internal/statefile"
)

// Signers are the keys of all configured domains. It is immutable but for what
// SetPublished notes, and safe for concurrent use.
type Signers struct {
	domains map[string]*Domain
	library *openssl.Library // nil: Go signs with RSA, too
	without error            // why there is no library
}

// Domain signs for one configured domain. It is safe for concurrent use.
type Domain struct {
	name   string
	config DomainConfig
	keys   []*Key
	names  []string // of all keys, shared by the results of Sign
	unmade error    // why a key could not be made yet
}

// Key is one private key of a domain with its selector.
type Key struct {
	Domain   string
	Selector string
	File     string
	// Made: the file was missing and Load has made it.
	Made bool

	signer crypto.Signer
	sign   func(digest []byte) ([]byte, error)
	start  string // of the field, up to and with "t="
	state  atomic.Int32
}

// RecordState is what is known about the record of a key in DNS.
type RecordState int32

// States of a key's record.
const (
	Unknown     RecordState = iota // not looked up yet, or DNS did not answer
	Matches                        // published and right
	Unpublished                    // missing, revoked, or another key
)

// Load reads all keys; where a domain says generate, it makes those that are
// missing. A disk that has no room for one is not an error: see Unmade. The error joins all problems, one a line, each beginning with the
// key of the configuration ("dkim.\"example.org\".keys.0: ...").
func Load(cfg map[string]DomainConfig) (*Signers, error) { return load(cfg, readOrMake) }

// Check is Load without making anything: missing is the list of key files that
// Load would make.
func Check(cfg map[string]DomainConfig) (s *Signers, missing []string, err error) {
	s, err = load(cfg, func(file string, _ KeyType) (crypto.Signer, bool, error) {
		key, err := ReadKey(file)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, file)
			return nil, false, nil
		}
		return key, false, err
	})
	return s, missing, err
}

type reader func(file string, t KeyType) (key crypto.Signer, made bool, err error)

func load(cfg map[string]DomainConfig, generate reader) (*Signers, error) {
	s := &Signers{domains: make(map[string]*Domain, len(cfg))}
	s.library, s.without = openssl.Open()
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		c := cfg[name]
		if p := CheckDomain(name); p != "" {
			problems = append(problems, fmt.Errorf("dkim.%q: %s", name, p))
			continue
		}
		d := &Domain{name: name, config: c}
		for i, k := range c.Keys {
			key, err := s.loadKey(d, k, generate)
			switch {
			case err != nil && c.Generate && statefile.IsDiskTrouble(err):
				d.unmade = fmt.Errorf("key %s/%s: %w", name, k.Selector, err)
			case err != nil:
				problems = append(problems, fmt.Errorf("dkim.%q.keys.%d: %w", name, i, err))
			case key != nil:
				d.keys = append(d.keys, key)
				d.names = append(d.names, key.Name())
			}
		}
		s.domains[name] = d
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// loadKey returns nil without an error for a key that only Load would make.
func (s *Signers) loadKey(d *Domain, k KeyConfig, generate reader) (*Key, error) {
	read := generate
	if !d.config.Generate {
		read = func(string, KeyType) (crypto.Signer, bool, error) { return readExisting(d.name, k) }
	}
	signer, made, err := read(k.File, k.Type)
	if err != nil || signer == nil {
		return nil, err
	}
	if IsWeak(signer) && !k.AllowWeak {
		return nil, fmt.Errorf("%s holds an RSA key of %d bits, which receivers trust less and less; make one of 2048 by: %s; "+
			"where this one is published, write allow_weak = true beside it until the new one is",
			k.File, bits(signer), keygen(d.name, KeyConfig{Selector: k.Selector + "b", File: k.File + ".new"}))
	}
	return s.newKey(d.name, k, signer, made)
}

func readExisting(domain string, k KeyConfig) (crypto.Signer, bool, error) {
	key, err := ReadKey(k.File)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; set generate = true, or make it by: %s", err, keygen(domain, k))
	}
	return key, false, err
}

func bits(key crypto.Signer) int {
	if k, ok := key.(*rsa.PrivateKey); ok {
		return k.N.BitLen()
	}
	return 0
}

// Weak reports whether the key is an RSA key of fewer than 2048 bits, which
// signs only because of allow_weak.
func (k *Key) Weak() bool { return IsWeak(k.signer) }

// keygen is the command that makes the file of a key.
func keygen(domain string, k KeyConfig) string {
	words := []string{"relay", "dkim", "keygen", "-domain", domain, "-selector", k.Selector, "-out", k.File}
	if k.Type == Ed25519 {
		words = append(words, "-type", string(k.Type))
	}
	return shell.Command(words...)
}

func (s *Signers) newKey(domain string, k KeyConfig, signer crypto.Signer, made bool) (*Key, error) {
	sign, algorithm, err := signWith(signer, s.library)
	if err != nil {
		return nil, err
	}
	key := &Key{Domain: domain, Selector: k.Selector, File: k.File, Made: made, signer: signer, sign: sign}
	key.start = fieldStart(algorithm, domain, k.Selector)
	return key, nil
}

// For returns the signer of a domain in lower-case A-labels: its own, else that
// of its nearest configured parent, else nil.
func (s *Signers) For(domain string) *Domain {
	for {
		if d := s.domains[domain]; d != nil {
			return d
		}
		_, parent, found := strings.Cut(domain, ".")
		if !found {
			return nil
		}
		domain = parent
	}
}

// RSASigner names what makes RSA signatures: the version of the system's OpenSSL, or
// "Go" and why not OpenSSL, which would need a fraction of the time. A key that OpenSSL
// refuses is one for Go in any case.
func (s *Signers) RSASigner() string {
	if s.library == nil {
		return "Go, as " + s.without.Error()
	}
	return s.library.Version()
}

// Keys returns all keys, by domain and then in the order of the configuration.
func (s *Signers) Keys() []*Key {
	var keys []*Key
	for _, name := range slices.Sorted(maps.Keys(s.domains)) {
		keys = append(keys, s.domains[name].keys...)
	}
	return keys
}

// Unmade says which keys could not be made, since the disk is full or read-only.
// Until the next Load, a domain without another key is as one whose key fails.
func (s *Signers) Unmade() []error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(s.domains)) {
		if err := s.domains[name].unmade; err != nil {
			all = append(all, err)
		}
	}
	return all
}

// SetPublished notes what DNS says about a key; what follows is for
// require_published. Unknown domains and selectors are ignored.
func (s *Signers) SetPublished(domain, selector string, state RecordState) {
	d := s.domains[domain]
	if d == nil {
		return
	}
	for _, k := range d.keys {
		if k.Selector == selector {
			k.state.Store(int32(state))
		}
	}
}

// Name is the key as events have it: "example.org/s2026".
func (k *Key) Name() string { return k.Domain + "/" + k.Selector }

// Published is what SetPublished noted last.
func (k *Key) Published() RecordState { return RecordState(k.state.Load()) }

// Record is the DNS name and TXT value to publish for the key.
func (k *Key) Record() (name, value string) { return Record(k.Domain, k.Selector, k.signer) }

// Name is the configured domain, which goes into d=.
func (d *Domain) Name() string { return d.name }

// Required reports whether mail that could not be signed must wait.
func (d *Domain) Required() bool { return d.config.Require }

// expiry is when a signature made now ends, or the zero time.
func (d *Domain) expiry(now time.Time) time.Time {
	if d.config.Expire == 0 {
		return time.Time{}
	}
	return now.Add(d.config.Expire)
}
