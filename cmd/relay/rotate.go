package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"postern/cmd/relay/cli"
	"postern/dkimsign"
	"postern/internal/config"
	"postern/internal/resolve"
	"postern/internal/rotation"
	"postern/internal/shell"
	"postern/reputation/identity"
)

// rotating is a rotation with the configuration that it is for.
type rotating struct {
	*rotation.Rotation
	config string // file
}

// runRotate makes the next key of a domain, prints its record, and says whether
// DNS has it.
func runRotate(io cli.IO, args []string) int {
	var wait time.Duration
	var kind dkimsign.KeyType
	f := flag.NewFlagSet("relay dkim rotate", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, "")
	f.Func("wait", "`duration` to wait for the record to be published, such as 1h; default: DNS is asked once", cli.DurationFlag(&wait))
	f.Func("type", "`kind` of key: rsa or ed25519; default: that of the domain's newest key", func(s string) error { return kind.UnmarshalText([]byte(s)) })
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return dkimMisuse(io, "rotate needs a domain, as in: relay dkim rotate example.org")
	}
	file, ok := cli.LoadChecked(io, cli.ConfigPath(*path), config.LoadHere)
	if !ok {
		return cli.Fault
	}
	domain := strings.ToLower(strings.TrimSuffix(words[0], "."))
	cfg, ok := file.DKIM[domain]
	if !ok {
		return dkimMisuse(io, fmt.Sprintf("there is no table [dkim.%q]; write it with a first key, as in: %s", domain, firstKey(file, domain)))
	}
	resolver, err := resolve.New(resolve.Options{Servers: file.Reputation.Resolvers, Timeout: file.Reputation.Timeout})
	if err != nil {
		return dkimFault(io, err)
	}
	next, err := rotation.Next(resolver, domain, cfg, kind)
	if err != nil {
		return dkimFault(io, err)
	}
	r := &rotating{Rotation: next, config: file.Path()}
	return r.follow(io, resolver, wait, file)
}

// firstKey is the command that makes one for a domain that has none.
func firstKey(f *config.File, domain string) string {
	selector := fmt.Sprintf("s%d", time.Now().Year())
	file := filepath.Join(filepath.Dir(f.Path()), "keys", domain+"."+selector+".pem")
	return shell.Command("relay", "dkim", "keygen", "-domain", domain, "-selector", selector, "-out", file)
}

func dkimFault(io cli.IO, err error) int {
	fmt.Fprintf(io.Err, "relay dkim: %v\n", err)
	return cli.Fault
}

// askEvery is the time between two look-ups while rotate waits.
const askEvery = 15 * time.Second

// follow prints the record and what is to be done, and waits for the record.
func (r *rotating) follow(io cli.IO, resolver *resolve.Resolver, wait time.Duration, file *config.File) int {
	switch {
	case r.Made:
		fmt.Fprintf(io.Out, "made %s\n", r.File)
	case r.Configured:
		fmt.Fprintf(io.Out, "key %s of %s is configured and not published yet\n", r.Selector, r.Domain)
	default:
		fmt.Fprintf(io.Out, "key %s was made before\n", r.File)
	}
	if !r.Configured {
		fmt.Fprintf(io.Out, "add it to keys of [dkim.%q] in %s and reload; it signs once its record is seen:\n  { selector = %q, file = %q },\n",
			r.Domain, file.Path(), r.Selector, r.File)
	}
	fmt.Fprintln(io.Out, "publish:")
	if status := printRecord(io, r.Domain, r.Selector, r.Key); status != cli.OK {
		return status
	}
	state := r.LookUp(resolver)
	for end := time.Now().Add(wait); state != identity.KeyPublished && time.Now().Before(end); {
		time.Sleep(min(askEvery, time.Until(end)))
		state = r.LookUp(resolver)
	}
	return r.sayState(io, state)
}

func (r *rotating) sayState(io cli.IO, state identity.KeyState) int {
	switch state {
	case identity.KeyPublished:
		fmt.Fprintf(io.Out, "live: DNS has the key; take the older keys out of [dkim.%q] when mail signed with them has been delivered, after a week\n", r.Domain)
		return cli.OK
	case identity.KeyUnpublished:
		fmt.Fprintf(io.Out, "not live yet: DNS does not have the record; to wait for it: %s\n", config.Command(r.config, "dkim", "rotate", "-wait", "1h", r.Domain))
		return cli.OK
	}
	fmt.Fprintln(io.Out, "unknown: DNS did not answer")
	return cli.Unknown
}
