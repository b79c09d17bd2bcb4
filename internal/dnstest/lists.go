package dnstest

import "testing"

const (
	Ip4List    = ":127.0.0.4:listed, see https://bl.example/?q=$\n127.0.0.2\n192.0.2.66\n:127.0.0.10:policy\n192.0.2.67\n"
	ip6List    = ":127.0.0.3:listed\n::ffff:7f00:2\n2001:db8::66\n"
	domainList = ":127.0.1.2:spammer\ntest\nspam.example\n.wild.example\n"
)

func Lists(t *testing.T) *blocklists {
	return Rbldnsd(t, map[string]string{
		"bl.example":   "ip4set " + Ip4List,
		"bl6.example":  "ip6trie " + ip6List,
		"dbl.example":  "dnset " + domainList,
		"dead.example": "ip4set # nothing\n",
		"all.example":  "ip4trie :127.0.0.2:all\n0/1\n128/1\n",
	})
}
