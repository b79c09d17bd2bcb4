package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/dkimsign"
	"postern/internal/shell"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/relay/smtpd"
)

// clients holds each client against listeners, users and streams. What policy
// itself finds wrong with the rules comes from its Compile.
func (x *crossCheck) clients() {
	if len(x.Client) == 0 {
		x.d.warn("client", "no table [client.NAME], so nobody may send anything; write one")
	}
	for _, name := range sortedKeys(x.User) {
		if !mail.IsUserName(syntax.User(name)) {
			x.d.problem(join("user", name), `begins with "submitter:", as the names of submitters do; give it another name`)
		}
	}
	for _, name := range sortedKeys(x.Client) {
		c, path := x.Client[name], join("client", name)
		if !x.usersMissing {
			x.knownUsers(join(path, "users"), c.Users)
		}
		x.listed(join(path, "listeners"), "listener", c.Listeners)
		if _, ok := x.Stream[c.Stream]; !ok && c.Stream != "" {
			x.d.problem(join(path, "stream"), x.noSuch("stream", c.Stream))
		}
		for i, text := range c.NullSenderLimit {
			if err := new(ratelimit.Number).UnmarshalText([]byte(text)); err != nil {
				x.d.problem(join(join(path, "null_sender_limit"), strconv.Itoa(i)), err.Error())
			}
		}
		x.publicSuffixes(join(path, "senders"), c)
		x.reachable(path, c)
	}
	x.policy()
}

// knownUsers checks that every user has its table, however the two are spelled.
func (x *crossCheck) knownUsers(path string, names []string) {
	for i, name := range names {
		if name == policy.AnyUser {
			x.anyUser(join(path, strconv.Itoa(i)))
		} else if !x.users[syntax.User(name)] {
			x.d.problem(join(path, strconv.Itoa(i)), x.noSuch("user", name))
		}
	}
}

// anyUser looks at users = ["*"].
func (x *crossCheck) anyUser(path string) {
	switch {
	case x.users[policy.AnyUser]:
		x.d.problem(path, `is every user, but there is a [user."*"], too; give that user another name`)
	case len(x.users) == 0:
		x.d.problem(path, "is every user, but there is no [user.NAME]; write one")
	}
}

// publicSuffixes warns of senders in all domains below a suffix under which
// strangers register theirs, such as @*.co.uk or @com (https://publicsuffix.org).
func (x *crossCheck) publicSuffixes(path string, c policy.ClientConfig) {
	for i, pattern := range x.Widest(c) {
		domain, below := patternDomain(pattern)
		suffix, icann := publicsuffix.PublicSuffix(domain)
		if domain == "" || suffix != domain || !icann && !strings.Contains(domain, ".") {
			continue // a name that nobody lists, such as lan, is the operator's own
		}
		what := fmt.Sprintf("%s is a public suffix", domain)
		if below {
			what += ", below which anybody can register a domain"
		}
		x.d.warn(join(path, strconv.Itoa(i)), what+"; name your own domain")
	}
}

// policy compiles the rules; what has been said above is not said twice.
func (x *crossCheck) policy() {
	told := map[string]bool{}
	for _, p := range x.d.problems {
		told[p.Key] = true
	}
	x.File.policy = policy.Compile(x.policyConfig(), ParseAddress, func(path, text string) {
		if !told[path] {
			x.d.problem(path, text)
		}
	}, x.d.warn)
}

// reachable warns of a client whose conditions no listener can meet.
func (x *crossCheck) reachable(path string, c policy.ClientConfig) {
	can := func(meets func(smtpd.ListenerConfig) bool) bool {
		for name, l := range x.Listener {
			if (len(c.Listeners) == 0 || slices.Contains(c.Listeners, name)) && meets(l) {
				return true
			}
		}
		return false
	}
	if len(c.Users) > 0 && !can(func(l smtpd.ListenerConfig) bool {
		return l.TLS != smtpd.TLSNone || l.Address.Addr().IsLoopback()
	}) {
		x.d.warn(join(path, "users"), `no listener of this client takes passwords, for none is encrypted; set tls on one`)
	}
	if len(c.Certificates) > 0 && !can(func(l smtpd.ListenerConfig) bool { return l.ClientCA != "" }) {
		x.d.warn(join(path, "certificates"), "no listener of this client asks for certificates; set client_ca on one")
	}
}

// dkim finds domains that are sent from and not signed, and the other way round.
func (x *crossCheck) dkim() {
	owned := x.owned()
	for _, domain := range sortedKeys(x.DKIM) {
		if !owned.within(domain) && dkimsign.CheckDomain(domain) == "" {
			x.d.warn(join("dkim", domain), "no client owns a sender in this domain; correct it or add the sender to a client")
		}
	}
	x.dkimKeys()
	if len(x.DKIM) == 0 && len(x.Client) > 0 {
		x.d.warn("dkim", `no table [dkim."DOMAIN"], so all mail leaves unsigned; write one for each sender domain`)
		return
	}
	for _, name := range x.names["client"] {
		unsigned := map[string]bool{}
		for i, pattern := range x.Widest(x.Client[name]) {
			domain, _ := patternDomain(pattern)
			if x.SigningDomain(pattern) != "" || unsigned[domain] {
				continue
			}
			unsigned[domain] = true
			x.d.warn(join(join(join("client", name), "senders"), strconv.Itoa(i)),
				fmt.Sprintf("mail from %s leaves unsigned, for there is no [dkim.%q]; write one", domain, domain))
		}
	}
}

// ownedDomains are the domains that clients own senders in: each with all that
// lie around it, and those that a client owns everything below.
type ownedDomains struct{ around, below map[string]bool }

func (x *crossCheck) owned() ownedDomains {
	o := ownedDomains{map[string]bool{}, map[string]bool{}}
	for _, c := range x.Client {
		for _, pattern := range x.Widest(c) {
			d, below := patternDomain(pattern)
			if below {
				o.below[d] = true
			}
			for ; d != "" && !o.around[d]; _, d, _ = strings.Cut(d, ".") {
				o.around[d] = true
			}
		}
	}
	return o
}

// within reports whether a client owns senders that the table of a dkim domain
// signs for.
func (o ownedDomains) within(domain string) bool {
	if o.around[domain] {
		return true
	}
	for d := domain; d != ""; _, d, _ = strings.Cut(d, ".") {
		if o.below[d] {
			return true
		}
	}
	return false
}

// dkimKeys reads the keys; those that are made at start may be missing.
func (x *crossCheck) dkimKeys() {
	if x.d.beside == leftAlone {
		return
	}
	signers, _, err := dkimsign.Check(x.DKIM)
	if err == nil {
		x.weakKeys(signers)
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range all.Unwrap() {
		path, problem, _ := strings.Cut(err.Error(), ": ")
		x.d.unreadable(path, err, problem)
	}
}

// weakKeys warns of each key that signs only because of allow_weak.
func (x *crossCheck) weakKeys(signers *dkimsign.Signers) {
	for _, k := range signers.Keys() {
		i := slices.IndexFunc(x.DKIM[k.Domain].Keys, func(c dkimsign.KeyConfig) bool { return c.Selector == k.Selector })
		if k.Weak() && i >= 0 {
			x.d.warn(fmt.Sprintf("dkim.%q.keys.%d", k.Domain, i), k.File+" is an RSA key of fewer than 2048 bits, which receivers trust less and less; "+
				"change it by: "+shell.Command("relay", "dkim", "rotate", k.Domain))
		}
	}
}
