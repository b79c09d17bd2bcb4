package logins_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/outlier/logins"
	"postern/reputation/dnsbl"
)

// A blocklist has 192.0.2.66, from where somebody logs in, and the test entry 127.0.0.2
// that each blocklist has.
func Example() {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(blocklist)}
	var tasks sync.WaitGroup
	tasks.Go(func() { server.ActivateAndServe() })

	asker := logins.New(nil, nil)
	err = asker.Use(logins.Setup{
		Zones:   []string{"auth.bl.example"},
		Tables:  map[string]dnsbl.ZoneConfig{"auth.bl.example": {Codes: map[string]string{"127.0.0.4": "guesses passwords"}}},
		Servers: []string{socket.LocalAddr().String()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	tasks.Go(func() { asker.Run(ctx) })

	addr := netip.MustParseAddr("192.0.2.66")
	fmt.Printf("with the first message: %q\n", asker.Listed("office", addr))
	said := ""
	for began := time.Now(); said == "" && time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		said = asker.Listed("office", addr)
	}
	fmt.Printf("with a later one: %q\n", said)

	stop()
	server.Shutdown()
	tasks.Wait()
	// Output:
	// with the first message: ""
	// with a later one: "auth.bl.example (127.0.0.4 guesses passwords)"
}

// blocklist answers as a DNS server with such a list does (RFC 5782).
func blocklist(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	answer.Authoritative = true
	codes := map[string]string{"2.0.0.127.auth.bl.example.": "127.0.0.2", "66.2.0.192.auth.bl.example.": "127.0.0.4"}
	q := question.Question[0]
	code, listed := codes[q.Name]
	switch {
	case !listed:
		answer.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA:
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass, Ttl: 300}, A: net.ParseIP(code)}}
	}
	w.WriteMsg(answer)
}
