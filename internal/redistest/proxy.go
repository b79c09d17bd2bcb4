package redistest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between a client and a server, and loses what it is told to.
type Proxy struct {
	Addr string

	target string
	lose   atomic.Bool
	loseTo atomic.Pointer[[]byte]
	hang   atomic.Bool
	refuse atomic.Bool
	mu     sync.Mutex
	conns  map[*net.TCPConn]struct{}
	wg     sync.WaitGroup
}

// NewProxy listens on a free port and forwards to target until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &Proxy{Addr: l.Addr().String(), target: target, conns: map[*net.TCPConn]struct{}{}}
	p.wg.Go(func() { p.serve(l) })
	t.Cleanup(func() {
		l.Close()
		p.refuse.Store(true)
		p.Reset()
		p.wg.Wait()
	})
	return p
}

// LoseReplies, when on, passes requests on and drops what the server answers.
func (p *Proxy) LoseReplies(on bool) { p.lose.Store(on) }

// LoseRepliesTo passes requests on, and of a connection over which one with these octets
// came drops all that the server answers from then on; "": of none any more.
func (p *Proxy) LoseRepliesTo(octets string) {
	if octets == "" {
		p.loseTo.Store(nil)
		return
	}
	b := []byte(octets)
	p.loseTo.Store(&b)
}

// Hang, when on, accepts connections and drops all that comes over them.
func (p *Proxy) Hang(on bool) { p.hang.Store(on) }

// Refuse, when on, resets every new connection at once.
func (p *Proxy) Refuse(on bool) { p.refuse.Store(on) }

// Reset resets all connections (RST, not FIN).
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0)
		c.Close()
	}
}

func (p *Proxy) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		server, err := net.Dial("tcp", p.target)
		if err != nil || p.refuse.Load() {
			_ = client.SetLinger(0)
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		upstream := server.(*net.TCPConn)
		p.hold(client, upstream)
		var lost atomic.Bool
		p.wg.Go(func() {
			p.copy(upstream, client, func(request []byte) bool {
				if to := p.loseTo.Load(); to != nil && bytes.Contains(request, *to) {
					lost.Store(true)
				}
				return p.hang.Load()
			})
		})
		p.wg.Go(func() { p.copy(client, upstream, func([]byte) bool { return p.lose.Load() || lost.Load() }) })
	}
}

func (p *Proxy) hold(conns ...*net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
}

// copy passes octets on until either side is gone, but drops them while drop
// says so of them.
func (p *Proxy) copy(to, from *net.TCPConn, drop func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !drop(buf[:n]) {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
}
