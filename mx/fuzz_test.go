package mx

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// FuzzAnswers: whatever DNS says, mail goes to host names and to addresses that
// hosts of the Internet have, and to no more of them than MaxTargets.
func FuzzAnswers(f *testing.F) {
	var answer atomic.Pointer[[]byte]
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { pc.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, peer, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var q dns.Msg
			if q.Unpack(b[:n]) != nil || n < 12 || answer.Load() == nil {
				continue
			}
			// The question is repeated, or nothing behind it would be looked at.
			question := q.Question[0]
			q.Extra = nil
			raw, _ := (&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id}, Question: []dns.Question{question}}).Pack()
			data := *answer.Load()
			if len(data) < 8 {
				continue
			}
			copy(raw[2:4], data[:2])
			raw[2] = raw[2]&^0x7a | 0x80
			raw[7], raw[9], raw[11] = data[3]%40, data[5]%4, 0
			pc.WriteTo(append(raw, data[8:]...), peer)
		}
	}()
	seed := func(records ...string) {
		m := new(dns.Msg).SetQuestion("d.", dns.TypeMX)
		m.Response, m.RecursionAvailable = true, true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte{b[2], b[3], 0, b[7], 0, 0, 0, 0}, b[12+7:]...))
	}
	seed("d. 60 MX 10 a.")
	seed("d. 60 MX 0 .", "d. 60 MX 10 d.", "d. 60 A 127.0.0.1", "d. 60 A 11.0.0.1")
	seed("d. 60 CNAME d.")
	seed("d. 60 AAAA ::ffff:10.0.0.1", "d. 60 A 10.0.0.1")
	f.Fuzz(func(t *testing.T, data []byte) {
		answer.Store(&data)
		o := Options{Self: self, Interfaces: interfacesOfTests, DNSTimeout: 20 * time.Millisecond}
		o.Config.SetDefaults()
		o.Config.Resolvers = []string{pc.LocalAddr().String()}
		finder, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer finder.Close()
		a, err := finder.Find(t.Context(), "d", Families{IPv4: true, IPv6: true})
		if err == nil && (len(a.Targets) == 0) == (a.Problem == None) || len(a.Targets) > MaxTargets || len(a.Exchangers) > maxExchangers {
			t.Fatalf("%+v, %v", a, err)
		}
		for _, target := range a.Targets {
			if !resolve.IsHostName(target.Host) || reserved(target.Address.Addr()) != "" || target.Address.Addr() == netip.MustParseAddr("11.0.0.5") {
				t.Errorf("mail would go to %s", target)
			}
		}
	})
}
