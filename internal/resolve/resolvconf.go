package resolve

import (
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf = "/etc/resolv.conf"
	// rereadEvery is how soon a change of it is seen, as by the resolver of
	// package net, which upstreams and Redis are looked up with.
	rereadEvery = 5 * time.Second
)

// serverList is the DNS servers to ask.
type serverList struct {
	file string // resolv.conf(5); "": the addresses are fixed
	now  func() time.Time

	mu      sync.Mutex
	addrs   []string
	version int
	read    time.Time
}

// get returns the servers and a number that is another one when they have
// changed. A file that is not there or names none, as while a DHCP client
// writes it, leaves those that were known; the first time it stands for this
// machine.
func (l *serverList) get() (addrs []string, version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if age := now.Sub(l.read); l.file == "" || len(l.addrs) > 0 && age >= 0 && age < rereadEvery {
		return l.addrs, l.version
	}
	l.read = now
	next := systemServers(l.file)
	if len(next) == 0 && len(l.addrs) == 0 {
		next = []string{"127.0.0.1:53"}
	}
	if len(next) > 0 && !slices.Equal(next, l.addrs) {
		l.addrs = next
		l.version++
	}
	return l.addrs, l.version
}

// FirstServer is the server that is asked first, with its port.
func (r *Resolver) FirstServer() string {
	addrs, _ := r.servers.get()
	return addrs[0]
}

// systemServers reads resolv.conf(5).
func systemServers(file string) (addrs []string) {
	c, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil
	}
	for _, s := range c.Servers {
		if a, err := ServerAddress(s); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}
