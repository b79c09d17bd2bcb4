package relay

import (
	"math"
	"runtime"
	"testing"

	"postern/internal/smtptest"
	"postern/relay/smtpd"
)

// heap is what the process holds, stacks included.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// idle opens n connections, brings each to rest by do and returns the octets
// that each of them costs, its client's side included.
func idle(t testing.TB, r *rig, n int, do func(*peer)) float64 {
	r.listener.MaxConnections, r.listener.MaxConnectionsPerIP = 2*n, n+10
	r.start()
	before := heap()
	for range n {
		p := r.connect()
		do(p)
	}
	return (heap() - before) / float64(n)
}

func atRest(p *peer) {
	p.want("220")
	p.say("EHLO mta.example.org", "250")
}

// An idle connection costs little, also after it has carried a message. The
// bound counts the test's own side of it, which is as large.
func TestIdleConnectionIsCheap(t *testing.T) {
	for _, c := range []struct {
		name string
		most float64
		do   func(*peer)
	}{
		{"at rest", 20 << 10, atRest},
		{"behind a message", 26 << 10, func(p *peer) {
			p.want("220")
			p.open("b@dest.example")
			p.send(plainMail)
			p.want("250")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			each := idle(t, r, 200, c.do)
			t.Logf("%.1f KiB", each/1024)
			if each > c.most {
				t.Errorf("an idle connection costs %.1f KiB", each/1024)
			}
		})
	}
}

// BenchmarkIdleConnection reports what idle connections cost; the client's side
// of the test is in the number, except for its read buffer of 4 KiB.
func BenchmarkIdleConnection(b *testing.B) {
	const clientBuffer = 4 << 10
	for _, c := range []struct {
		name string
		tls  smtpd.TLSMode
		do   func(*rig, *peer)
	}{
		{"plain", smtpd.TLSNone, func(_ *rig, p *peer) { atRest(p) }},
		{"TLS", smtpd.TLSImplicit, func(r *rig, p *peer) {
			p.startTLS(r.clientTLS(false))
			atRest(p)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				r := newRig(b)
				r.listener.TLS = c.tls
				each := idle(b, r, 500, func(p *peer) { c.do(r, p) })
				b.ReportMetric((each-clientBuffer)/1024, "KiB/connection")
				r.stop()
			}
		})
	}
}

// BenchmarkMessage is one small message on a kept connection, to an upstream
// that discards it.
func BenchmarkMessage(b *testing.B) {
	for _, c := range []struct{ name, send string }{
		{"DATA", ""}, {"pipelined BDAT", "BDAT 26 LAST\r\nFrom: a@example.org\r\n\r\nx\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b)
			r.session.MaxMessages = math.MaxInt
			r.tune = func(s *Server) { s.observers = nil }
			r.start()
			r.quiet()
			p := r.dial()
			p.say("EHLO x", "250")
			b.ReportAllocs()
			for b.Loop() {
				if c.send == "" {
					p.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n")
					p.want("250")
					p.want("250")
					p.want("354")
					p.send(plainMail)
					p.want("250")
					continue
				}
				p.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\n" + c.send)
				p.want("250")
				p.want("250")
				p.want("250")
			}
		})
	}
}

// quiet puts an upstream in place that keeps nothing.
func (r *rig) quiet() {
	up := smtptest.Start(r.t, smtptest.Options{Discard: true})
	r.upConfig.Hosts = []string{up.Addr()}
	old := r.server.snapshot()
	r.server.Reload(r.snapshot())
	r.t.Cleanup(func() { old.Routes["main"].Upstream.Close(r.t.Context()) })
}
