package admin

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"postern/mail"
)

// Crowd is a listener with a bound on open connections. Once that is reached, a new one
// takes the place of the oldest of the network with the most (an address, or an IPv6 /64):
// whoever opens hundreds, and says little or nothing, keeps nobody else out.
type Crowd struct {
	net.Listener
	most int

	mu   sync.Mutex
	open []*guest // the oldest first
}

// NewCrowd bounds what ln accepts.
func NewCrowd(ln net.Listener, most int) *Crowd { return &Crowd{Listener: ln, most: most} }

// guest is one connection.
type guest struct {
	net.Conn
	crowd *Crowd
	from  netip.Prefix
}

// Accept waits for the next connection.
func (c *Crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{conn, c, networkOf(conn.RemoteAddr())}
	if gone := c.admit(g); gone != nil {
		gone.Close()
	}
	return g, nil
}

// admit adds a guest; gone is the one that has to go for it.
func (c *Crowd) admit(g *guest) (gone *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		of := map[netip.Prefix]int{}
		for _, o := range c.open {
			of[o.from]++
		}
		for _, o := range c.open {
			if gone == nil || of[o.from] > of[gone.from] {
				gone = o
			}
		}
		c.leave(gone)
	}
	c.open = append(c.open, g)
	return gone
}

// leave takes a guest out, where it is there; c.mu is held.
func (c *Crowd) leave(g *guest) {
	c.open = slices.DeleteFunc(c.open, func(o *guest) bool { return o == g })
}

// Close ends the connection.
func (g *guest) Close() error {
	g.crowd.mu.Lock()
	g.crowd.leave(g)
	g.crowd.mu.Unlock()
	return g.Conn.Close()
}

// networkOf is what counts as one; all without an address are one, too.
func networkOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return mail.Site(tcp.AddrPort().Addr().Unmap())
}
