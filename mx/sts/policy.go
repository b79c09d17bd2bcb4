// Package sts says which policy of MTA-STS (RFC 8461) a domain has: that mail to it
// goes over verified TLS to hosts that it names, or not at all.
//
// A domain says by a TXT record that it has a policy, and which one; the policy
// itself comes over HTTPS, so that who can forge DNS cannot take it away once it is
// known. For that it is kept on disk: a memory that is lost with each restart loses
// the protection, too. What cannot be fetched now changes nothing: a policy that is
// known holds until it ends, and a domain without one is served as before.
package sts

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/resolve"
)

// Mode is what a policy asks for.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Testing Mode = "testing" // the owner looks what enforce would do
	None    Mode = "none"
)

// Policy is the policy of one domain (RFC 8461 s. 3.2).
type Policy struct {
	Mode Mode `json:"mode"`
	// MX are names of hosts in lower case, or "*." and the names below which one
	// label may stand.
	MX     []string      `json:"mx"`
	MaxAge time.Duration `json:"max_age"` // nanoseconds; at most a year
}

const (
	maxPolicy = 64 << 10 // octets
	maxMX     = 200
	// longestAge is a year, as RFC 8461 s. 3.2 has it.
	longestAge = 31_557_600 * time.Second
)

// Parse reads a policy. Unknown fields are ignored, and of a field that comes twice the
// first counts (RFC 8461 s. 3.2).
func Parse(text []byte) (Policy, error) {
	if len(text) > maxPolicy {
		return Policy{}, errors.New("larger than 64 KiB")
	}
	fields := map[string]string{}
	var p Policy
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		key, value, ok := strings.Cut(strings.TrimSuffix(string(line), "\r"), ":")
		if !ok {
			if strings.TrimSpace(key) != "" {
				return Policy{}, fmt.Errorf("a line without a colon: %.40q", key)
			}
			continue
		}
		value = strings.Trim(value, " \t")
		if key == "mx" {
			if err := p.add(value); err != nil {
				return Policy{}, err
			}
		} else if _, twice := fields[key]; !twice {
			fields[key] = value
		}
	}
	return p, p.take(fields)
}

// add takes one field mx.
func (p *Policy) add(value string) error {
	name := strings.ToLower(strings.TrimSuffix(value, "."))
	if !resolve.IsHostName(strings.TrimPrefix(name, "*.")) || len(p.MX) == maxMX {
		return fmt.Errorf("mx: %.80q is not a host name", value)
	}
	p.MX = append(p.MX, name)
	return nil
}

// take reads the fields that a policy has once.
func (p *Policy) take(fields map[string]string) error {
	if v := fields["version"]; v != "STSv1" {
		return fmt.Errorf("version: %.40q, and not STSv1", v)
	}
	switch p.Mode = Mode(fields["mode"]); p.Mode {
	case Enforce, Testing, None:
	default:
		return fmt.Errorf("mode: %.40q", fields["mode"])
	}
	age := fields["max_age"]
	n, err := strconv.ParseUint(age, 10, 40)
	if err != nil || len(age) > 10 {
		return fmt.Errorf("max_age: %.40q is not a number of seconds of up to ten digits", age)
	}
	p.MaxAge = longestAge
	if n < uint64(longestAge/time.Second) {
		p.MaxAge = time.Duration(n) * time.Second
	}
	if p.Mode != None && len(p.MX) == 0 {
		return errors.New("no mx")
	}
	return nil
}

// Matches reports whether a policy names a host (RFC 8461 s. 4.1): a wildcard
// stands for one label, and for the leftmost alone.
func (p *Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	for _, name := range p.MX {
		if below, wild := strings.CutPrefix(name, "*."); name == host || wild && parent != "" && parent == below {
			return true
		}
	}
	return false
}

// recordID is the id of the TXT records of _mta-sts.DOMAIN; "" where they announce
// no policy: exactly one has to begin with "v=STSv1;" (RFC 8461 s. 3.1).
func recordID(texts []string) (id string) {
	n := 0
	for _, text := range texts {
		if !strings.HasPrefix(text, "v=STSv1;") {
			continue
		}
		n++
		for field := range strings.SplitSeq(text, ";") {
			key, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
			if key == "id" && id == "" {
				id = value
			}
		}
	}
	if n != 1 || !isID(id) {
		return ""
	}
	return id
}

func isID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return id != "" && len(id) <= 32
}
