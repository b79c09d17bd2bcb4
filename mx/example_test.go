package mx_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"postern/mx"
)

// records is what the DNS says of example.org: two hosts take its mail, the one with the
// lower preference first.
const records = `
example.org.        300 IN MX 20 backup.example.net.
example.org.        300 IN MX 10 mail.example.org.
mail.example.org.   300 IN A 203.0.113.25
backup.example.net. 300 IN A 198.51.100.25
`

// Who takes mail for a domain, and at which addresses, in the order to try them. The
// networks for documentation stand for public ones here, so they have to be allowed.
func ExampleFinder_Find() {
	server, stop := serve(records)
	defer stop()
	var cfg mx.Config
	cfg.SetDefaults()
	cfg.Resolvers = []string{server}
	cfg.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.0/24")}
	f, err := mx.New(mx.Options{Config: cfg})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	answer, err := f.Find(context.Background(), "example.org", mx.Families{IPv4: true})
	if err != nil {
		fmt.Println("not known now:", err) // a 4xx: DNS gave no answer
		return
	}
	for _, target := range answer.Targets {
		fmt.Println(target)
	}
	// Output:
	// mail.example.org[203.0.113.25]:25
	// backup.example.net[198.51.100.25]:25
}

// serve runs a DNS server on loopback that has the records of a zone file.
func serve(zone string) (address string, stop func()) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var all []dns.RR
	for z := dns.NewZoneParser(strings.NewReader(zone), "", ""); ; {
		rr, ok := z.Next()
		if !ok {
			break
		}
		all = append(all, rr)
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer, q := new(dns.Msg).SetReply(asked), asked.Question[0]
		answer.Authoritative = true
		for _, rr := range all {
			if rr.Header().Rrtype == q.Qtype && strings.EqualFold(rr.Header().Name, q.Name) {
				answer.Answer = append(answer.Answer, rr)
			}
		}
		w.WriteMsg(answer)
	})}
	var done sync.WaitGroup
	done.Go(func() { server.ActivateAndServe() })
	return socket.LocalAddr().String(), func() {
		server.Shutdown()
		done.Wait()
	}
}
