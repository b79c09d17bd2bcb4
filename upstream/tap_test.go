package upstream

import (
	"net"
	"sync"
	"testing"
)

// tap stands between an upstream and a server and keeps what the former writes,
// one entry a segment.
type tap struct {
	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	wrote []string
	conns []net.Conn
}

func newTap(t testing.TB, to string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{ln: ln}
	p.wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wg.Go(func() { p.copy(out, in, true) })
			p.wg.Go(func() { p.copy(in, out, false) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *tap) copy(to, from net.Conn, keep bool) {
	defer to.Close()
	b := make([]byte, 1<<20)
	for {
		n, err := from.Read(b)
		if keep && n > 0 {
			p.mu.Lock()
			p.wrote = append(p.wrote, string(b[:n]))
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *tap) addr() string { return p.ln.Addr().String() }

// segments returns what was written since the last call.
func (p *tap) segments() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.wrote
	p.wrote = nil
	return s
}
