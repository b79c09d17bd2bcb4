package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/dkimsign"
	"postern/internal/check"
	"postern/internal/config"
	"postern/internal/shell"
	"postern/reputation"
)

// rotation is the next key of a domain on its way into use.
type rotation struct {
	config   string // file
	domain   string
	selector string
	file     string
	key      crypto.Signer
	// configured: the key stands in the configuration already.
	configured bool
	made       bool
}

// runRotate makes the next key of a domain, prints its record, and says whether
// DNS has it.
func runRotate(io stdio, args []string) int {
	var wait time.Duration
	var kind dkimsign.KeyType
	f := flag.NewFlagSet("relay dkim rotate", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := configFlag(f, "")
	f.Func("wait", "how `long` to wait until the record is published, such as 1h; otherwise DNS is asked once", durationFlag(&wait))
	f.Func("type", "`kind` of key: rsa or ed25519; otherwise as the domain's newest", func(s string) error { return kind.UnmarshalText([]byte(s)) })
	words, status, ok := parseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return dkimMisuse(io, "rotate needs a domain, as in: relay dkim rotate example.org")
	}
	file, ok := loadChecked(io, configPath(*path), config.LoadHere)
	if !ok {
		return exitFault
	}
	domain := strings.ToLower(strings.TrimSuffix(words[0], "."))
	cfg, ok := file.DKIM[domain]
	if !ok {
		return dkimMisuse(io, fmt.Sprintf("there is no table [dkim.%q]; write it with a first key, as in: %s", domain, firstKey(file, domain)))
	}
	resolver, err := reputation.NewResolver(reputation.ResolverOptions{Servers: file.Reputation.Resolvers, Timeout: file.Reputation.Timeout})
	if err != nil {
		return dkimFault(io, err)
	}
	r, err := nextKey(resolver, domain, cfg, kind)
	if err != nil {
		return dkimFault(io, err)
	}
	r.config = file.Path()
	return r.follow(io, resolver, wait, file)
}

// firstKey is the command that makes one for a domain that has none.
func firstKey(f *config.File, domain string) string {
	selector := fmt.Sprintf("s%d", time.Now().Year())
	file := filepath.Join(filepath.Dir(f.Path()), "keys", domain+"."+selector+".pem")
	return shell.Command("relay", "dkim", "keygen", "-domain", domain, "-selector", selector, "-out", file)
}

func dkimFault(io stdio, err error) int {
	fmt.Fprintf(io.err, "relay dkim: %v\n", err)
	return exitFault
}

// nextKey is the key of a rotation under way, or a new one.
func nextKey(resolver *reputation.Resolver, domain string, cfg dkimsign.DomainConfig, kind dkimsign.KeyType) (*rotation, error) {
	last := cfg.Keys[len(cfg.Keys)-1]
	r := &rotation{domain: domain, selector: last.Selector, file: last.File}
	var err error
	if r.key, err = dkimsign.ReadKey(last.File); err != nil {
		return nil, err
	}
	if len(cfg.Keys) > 1 && r.lookUp(resolver) == reputation.KeyUnpublished {
		r.configured = true
		return r, nil
	}
	if kind == "" {
		kind = dkimsign.KeyType(r.identity().Type)
	}
	r.selector = nextSelector(cfg.Keys)
	r.file = filepath.Join(filepath.Dir(last.File), domain+"."+r.selector+".pem")
	if r.key, err = dkimsign.ReadKey(r.file); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if r.key, err = dkimsign.NewKey(kind, 2048); err != nil {
		return nil, err
	}
	r.made = true
	return r, dkimsign.WriteKey(r.file, r.key)
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

func (r *rotation) identity() reputation.KeyIdentity {
	_, value := dkimsign.Record(r.domain, r.selector, r.key)
	return check.Record(r.domain, r.selector, value)
}

// lookUp asks DNS once.
func (r *rotation) lookUp(resolver *reputation.Resolver) reputation.KeyState {
	ctx, cancel := context.WithTimeout(context.Background(), checkBound)
	defer cancel()
	_, state := resolver.LookUpKey(ctx, r.identity())
	return state
}

// askEvery is the time between two look-ups while rotate waits.
const askEvery = 15 * time.Second

// follow prints the record and what is to be done, and waits for the record.
func (r *rotation) follow(io stdio, resolver *reputation.Resolver, wait time.Duration, file *config.File) int {
	switch {
	case r.made:
		fmt.Fprintf(io.out, "made %s\n", r.file)
	case r.configured:
		fmt.Fprintf(io.out, "key %s of %s is configured and not published yet\n", r.selector, r.domain)
	default:
		fmt.Fprintf(io.out, "key %s was made before\n", r.file)
	}
	if !r.configured {
		fmt.Fprintf(io.out, "add it to keys of [dkim.%q] in %s and reload; it signs once its record is seen:\n  { selector = %q, file = %q },\n",
			r.domain, file.Path(), r.selector, r.file)
	}
	fmt.Fprintln(io.out, "publish:")
	if status := printRecord(io, r.domain, r.selector, r.key); status != exitOK {
		return status
	}
	state := r.lookUp(resolver)
	for end := time.Now().Add(wait); state != reputation.KeyPublished && time.Now().Before(end); {
		time.Sleep(min(askEvery, time.Until(end)))
		state = r.lookUp(resolver)
	}
	return r.sayState(io, state)
}

func (r *rotation) sayState(io stdio, state reputation.KeyState) int {
	switch state {
	case reputation.KeyPublished:
		fmt.Fprintf(io.out, "live: DNS has the key; take the older keys out of [dkim.%q] when mail signed with them has been delivered, after a week\n", r.domain)
		return exitOK
	case reputation.KeyUnpublished:
		fmt.Fprintf(io.out, "not live yet: DNS does not have the record; to wait for it: %s\n", config.Command(r.config, "dkim", "rotate", "-wait", "1h", r.domain))
		return exitOK
	}
	fmt.Fprintln(io.out, "unknown: DNS did not answer")
	return exitUnknown
}
