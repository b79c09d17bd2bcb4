package smtpd

import (
	"net/netip"
	"postern/mail"
	"sync"
)

// connCaps counts the connections of one listener, in all, by address, and by client
// where the address tells it.
type connCaps struct {
	total, each int
	mu          sync.Mutex
	open        int
	strangers   int // those of open that come from no client's network
	by          map[netip.Prefix]int
	of          map[string]int // by client
}

func (c *connCaps) set(total, each int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.each = total, each
}

// enter counts a connection in. Where clients have networks strangers may not
// take all: a tenth, at least one, is kept for those who are known.
func (c *connCaps) enter(known, networks bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || !known && c.strangers >= c.forStrangers(networks) {
		return false
	}
	c.open++
	if !known {
		c.strangers++
	}
	return true
}

func (c *connCaps) forStrangers(networks bool) int {
	if !networks || c.total == 1 {
		return c.total
	}
	return c.total - max(c.total/10, 1)
}

// change counts an open connection, once known, as that of a stranger, or the
// other way; false when there are too many strangers.
func (c *connCaps) change(known, networks bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case known:
		c.strangers--
	case c.strangers >= c.forStrangers(networks):
		return false
	default:
		c.strangers++
	}
	return true
}

func (c *connCaps) leave(known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if !known {
		c.strangers--
	}
}

func (c *connCaps) enterIP(ip netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := mail.Site(ip)
	if c.by[p] >= c.each {
		return false
	}
	c.by[p]++
	return true
}

func (c *connCaps) leaveIP(ip netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := mail.Site(ip)
	if c.by[p]--; c.by[p] <= 0 {
		delete(c.by, p)
	}
}

// enterClient counts a connection of a client that is known by its address, "" for
// none. One with many addresses may have three quarters of all connections, so that it
// does not lock the others out.
func (c *connCaps) enterClient(name string) bool {
	if name == "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[name] >= max(1, c.total*3/4) {
		return false
	}
	c.of[name]++
	return true
}

func (c *connCaps) leaveClient(name string) {
	if name == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[name]--; c.of[name] <= 0 {
		delete(c.of, name)
	}
}
