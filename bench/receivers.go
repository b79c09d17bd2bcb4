package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/miekg/dns"
)

// receivers are any number of domains, each with an exchanger at an address of its
// own in 127.0.0.0/8, and the DNS server that knows them. All exchangers are one sink.
type receivers struct {
	*sink
	port   int    // of the exchangers
	dns    string // address of the server
	server *dns.Server
}

// zone is where the domains are: d0.world.example and so on, whose hosts are
// m0.world.example and so on.
const zone = ".world.example"

func domainOf(n int) string { return "d" + strconv.Itoa(n) + zone }

// newReceivers starts them; s is the sink, which serves nothing yet.
func newReceivers(ctx context.Context, s *sink) (*receivers, error) {
	// All addresses of 127.0.0.0/8, and none else, whoever sends to this machine.
	onLoopback := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = syscall.BindToDevice(int(fd), "lo") })
		return errors.Join(err, failed)
	}}
	ln, err := onLoopback.Listen(ctx, "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	questions, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		ln.Close()
		return nil, err
	}
	r := &receivers{sink: s, port: ln.Addr().(*net.TCPAddr).Port, dns: questions.LocalAddr().String()}
	started := make(chan struct{})
	r.server = &dns.Server{PacketConn: questions, Handler: dns.HandlerFunc(answer), NotifyStartedFunc: func() { close(started) }}
	s.serve(ln)
	s.done.Go(func() { r.server.ActivateAndServe() })
	<-started
	return r, nil
}

// addr is one at which the sink is a smarthost.
func (r *receivers) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

func (r *receivers) close() {
	r.server.Shutdown()
	r.sink.close()
}

// answer knows the MX records of the domains and the addresses of their hosts.
func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	n, known := numberOf(name)
	head := dns.RR_Header{Name: name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 3600}
	switch {
	case !known:
		m.Rcode = dns.RcodeNameError
	case name[0] == 'd' && head.Rrtype == dns.TypeMX:
		m.Answer = []dns.RR{&dns.MX{Hdr: head, Preference: 10, Mx: "m" + name[1:]}}
	case name[0] == 'm' && head.Rrtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: head, A: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}}
	}
	w.WriteMsg(m)
}

// numberOf is that of a domain or a host.
func numberOf(name string) (n int, ok bool) {
	label, found := strings.CutSuffix(name, zone+".")
	if !found || label == "" || label[0] != 'd' && label[0] != 'm' {
		return 0, false
	}
	n, err := strconv.Atoi(label[1:])
	return n, err == nil && n >= 0 && n < 1<<22
}
