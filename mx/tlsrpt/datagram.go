package tlsrpt

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// kinds and codes are the numbers that the collector has for them.
var (
	kinds = map[Kind]int{DANE: 1, STS: 2, None: 9}
	codes = map[Result]int{
		NoSTARTTLS: 201, HostMismatch: 202, NotTrusted: 203, Expired: 204, Invalid: 205,
		FetchError: 301, BadPolicy: 302, BadHost: 303, NoUsable: 304, BadDNSSEC: 305,
	}
)

type message struct {
	Version  string    `json:"dpv"`
	Domain   string    `json:"d"`
	Record   string    `json:"pr"`
	Policies []outcome `json:"policies"`
}

type outcome struct {
	Type     int       `json:"policy-type"`
	Domain   string    `json:"policy-domain,omitempty"`
	Text     []string  `json:"policy-string,omitempty"`
	Hosts    []string  `json:"mx-host,omitempty"`
	Details  []failure `json:"failure-details,omitempty"`
	Failures int       `json:"t"`
	Failed   int       `json:"f"`
}

type failure struct {
	Code   int    `json:"c"`
	Source string `json:"s,omitempty"`
	Host   string `json:"n,omitempty"`
	To     string `json:"r,omitempty"`
	Reason string `json:"f,omitempty"`
}

// Bounds of what is told in octets. Whoever owns a domain writes its policy, and has many
// sessions wait; a datagram that does not fit into the socket would be lost.
const (
	maxReason = 200
	maxPolicy = 8 << 10 // of the lines, and of the hosts
	maxRecord = 4 << 10
	// maxReceivers is how many addresses of a record may get reports.
	maxReceivers = 10
)

// shorten leaves out of a session what is beyond these bounds.
func (s *Session) shorten() {
	s.Reason = strings.Clone(strings.ToValidUTF8(s.Reason[:min(len(s.Reason), maxReason)], ""))
	s.Policy.Text, s.Policy.Hosts = first(s.Policy.Text), first(s.Policy.Hosts)
}

// first are the first ones of lines, within maxPolicy.
func first(lines []string) []string {
	octets := 0
	for i, line := range lines {
		if octets += len(line); octets > maxPolicy {
			return slices.Clone(lines[:i])
		}
	}
	return lines
}

// datagram is a session as the collector takes it.
func (s *Session) datagram(record string) []byte {
	o := outcome{Type: kinds[s.Policy.Kind], Domain: s.Policy.Domain, Text: s.Policy.Text, Hosts: s.Policy.Hosts}
	if s.Result != Success {
		o.Failed, o.Failures = 1, 1
		o.Details = []failure{{Code: codes[s.Result], Source: text(s.Source), Host: s.Host, To: text(s.To), Reason: s.Reason}}
	}
	b, _ := json.Marshal(message{Version: "1", Domain: s.Domain, Record: record, Policies: []outcome{o}}) // nothing in it cannot be written
	return b
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
