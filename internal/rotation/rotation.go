// Package rotation finds or makes the DKIM key that comes next for a domain. A
// rotation has three steps: a key is made and its record published, the relay
// signs with it once DNS shows the record, and later the old key goes.
package rotation

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/dkimsign"
	"postern/internal/check"
	"postern/internal/resolve"
	"postern/reputation/identity"
)

// Rotation is the next key of a domain on its way into use.
type Rotation struct {
	Domain   string
	Selector string
	File     string
	Key      crypto.Signer
	// Configured: the key stands in the configuration already.
	Configured bool
	// Made: the key was made just now.
	Made bool
}

// lookUpBound is the most that one question to DNS may take.
const lookUpBound = 2 * time.Minute

// Next is the key of a rotation under way, or a new one.
func Next(resolver *resolve.Resolver, domain string, cfg dkimsign.DomainConfig, kind dkimsign.KeyType) (*Rotation, error) {
	last := cfg.Keys[len(cfg.Keys)-1]
	r := &Rotation{Domain: domain, Selector: last.Selector, File: last.File}
	var err error
	if r.Key, err = dkimsign.ReadKey(last.File); err != nil {
		return nil, err
	}
	if len(cfg.Keys) > 1 && r.LookUp(resolver) == identity.KeyUnpublished {
		r.Configured = true
		return r, nil
	}
	if kind == "" {
		kind = dkimsign.KeyType(r.identity().Type)
	}
	r.Selector = nextSelector(cfg.Keys)
	r.File = filepath.Join(filepath.Dir(last.File), domain+"."+r.Selector+".pem")
	if r.Key, err = dkimsign.ReadKey(r.File); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if r.Key, err = dkimsign.NewKey(kind, 2048); err != nil {
		return nil, err
	}
	r.Made = true
	return r, dkimsign.WriteKey(r.File, r.Key)
}

// nextSelector counts on from the newest selector: s2026 is followed by s2027,
// mail by mail2.
func nextSelector(keys []dkimsign.KeyConfig) string {
	last := keys[len(keys)-1].Selector
	stem := strings.TrimRight(last, "0123456789")
	n, err := strconv.Atoi(last[len(stem):])
	if err != nil {
		stem, n = last, 1
	}
	for {
		n++
		s := stem + strconv.Itoa(n)
		if !slices.ContainsFunc(keys, func(k dkimsign.KeyConfig) bool { return strings.EqualFold(k.Selector, s) }) {
			return s
		}
	}
}

func (r *Rotation) identity() identity.KeyIdentity {
	_, value := dkimsign.Record(r.Domain, r.Selector, r.Key)
	return check.Record(r.Domain, r.Selector, value)
}

// LookUp asks DNS once.
func (r *Rotation) LookUp(resolver *resolve.Resolver) identity.KeyState {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpBound)
	defer cancel()
	_, state := identity.LookUpKey(ctx, resolver, r.identity())
	return state
}
