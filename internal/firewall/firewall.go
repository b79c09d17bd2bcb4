// Package firewall writes the rules of nftables that keep mail from leaving this
// machine past the relay. What a stolen script sends by itself costs the good name
// of an address as much as what the relay sends, and no limit sees it.
package firewall

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/config"
	"postern/internal/plain"
	"postern/internal/text"
)

// smtp is the port on which everybody takes mail from everybody.
const smtp = 25

// Options are what the configuration does not say.
type Options struct {
	// Users of this machine that may send mail: that of the relay, and that of a
	// next hop which runs here.
	Users []string
	// Forwarded are addresses for which this machine is a router and that may send
	// mail, such as that of the relay's container.
	Forwarded []netip.Addr
}

// Check says which word is not a user's name, since it would be written into a program.
func (o Options) Check() error {
	for _, u := range o.Users {
		if u == "" || len(u) > 32 || strings.Trim(u, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
			return fmt.Errorf("%q is not the name of a user", u)
		}
	}
	return nil
}

// Write writes the rules for a configuration.
func Write(w io.Writer, f *config.File, o Options) error {
	b := &strings.Builder{}
	used, here := ports(f)
	all := slices.Sorted(maps.Keys(used))
	set := strings.NewReplacer("[", "{ ", "]", " }", " ", ", ").Replace(fmt.Sprint(all))
	fmt.Fprintf(b, `#!/usr/sbin/nft -f
# Written by "relay firewall" from %s: mail to the world leaves from the relay alone.
# "nft -c -f FILE" tries it, "nft -f FILE" puts it into force. It replaces its own table and touches no other.

table inet postern
delete table inet postern

table inet postern {
	chain leaves {
		type filter hook output priority filter; policy accept;
		ct state established,related accept
		oifname "lo" accept
`, plain.Quote(f.Path()))
	for _, line := range here {
		fmt.Fprintf(b, "\t\t# %s\n", line)
	}
	if len(here) == 0 && !used[smtp] && len(all) == 1 {
		fmt.Fprintf(b, "\t\t# no upstream is on port %d, so that the relay does not need it either\n", smtp)
	} else {
		fmt.Fprintf(b, "\t\ttcp dport %s meta skuid { \"%s\" } accept\n", set, strings.Join(o.Users, `", "`))
	}
	fmt.Fprintf(b, `		tcp dport %s counter reject with tcp reset
	}

	# containers, and machines for which this one is a router
	chain passes {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
`, set)
	for _, a := range o.Forwarded {
		version := "ip"
		if a.Is6() {
			version = "ip6"
		}
		fmt.Fprintf(b, "\t\t%s saddr %s tcp dport %s accept\n", version, a, set)
	}
	fmt.Fprintf(b, "\t\ttcp dport %s counter reject with tcp reset\n\t}\n}\n", set)
	_, err := io.WriteString(w, b.String())
	return err
}

// ports are those on which mail goes to the world, true where the relay sends it
// there; here says which next hops are on this machine.
func ports(f *config.File) (used map[int]bool, here []string) {
	used = map[int]bool{smtp: false}
	for _, name := range slices.Sorted(maps.Keys(f.Upstream)) {
		u := f.Upstream[name].Config
		if u.MX {
			used[u.Port] = true
		}
		hosts := slices.Clone(u.Hosts)
		for _, domain := range slices.Sorted(maps.Keys(u.Domain)) {
			hosts = append(hosts, u.Domain[domain].Hosts...)
		}
		for _, host := range hosts {
			at, port := split(host)
			switch {
			case text.IsLoopback(at):
				here = append(here, fmt.Sprintf("upstream %s is a program on this machine (%s): name its user, too, with -user", name, host))
			case port == smtp:
				used[smtp] = true
			}
		}
	}
	return used, here
}

// split takes a host of an upstream apart, which has been checked.
func split(host string) (name string, port int) {
	name, port = host, smtp
	if h, p, err := net.SplitHostPort(host); err == nil {
		name = h
		port, _ = strconv.Atoi(p)
	}
	return strings.Trim(name, "[]"), port
}
