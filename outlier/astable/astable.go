// Package astable reads which autonomous system (AS) each network of the Internet belongs
// to, from a table in plain text that an operator provides.
//
// Three forms of lines are read, which may be mixed; fields are parted by white space,
// and what follows "#" is a remark:
//
//	192.0.2.0/24 64500                    a network and its AS; "AS64500" will do, too
//	192.0.2.0 24 64500                    the same as routeviews pfx2as files have it
//	192.0.2.0 192.0.2.255 64500 ...       the first and last address, as range tables have it
//
// Where a network lies in another one, the smaller one holds. An AS of 0 is none. Of
// several ("64500_64501", "64500,64501") the first is taken.
package astable

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/gaissmai/bart"
)

// Bounds of a table: octets of the file, octets of a line, and networks, which take 20
// to 40 octets of memory each.
const (
	maxOctets   = 256 << 20
	maxLine     = 16 << 10
	maxNetworks = 4_000_000
)

// widest are the shortest prefixes of IPv4 and IPv6 that a line may have: one AS that
// holds much of the world would make everybody's network known.
const widest4, widest6 = 6, 12

// Table tells the AS of an address. It is immutable and may be shared. Nil knows none.
type Table struct {
	networks bart.Table[uint32]
}

// Of is the AS of an address, 0 for none.
func (t *Table) Of(a netip.Addr) uint32 {
	if t == nil || !a.IsValid() {
		return 0
	}
	as, _ := t.networks.Lookup(a.Unmap().WithZone(""))
	return as
}

// Len is how many networks it holds.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return t.networks.Size()
}

// Read reads a table. The error names the line, and then no table is returned.
func Read(r io.Reader) (*Table, error) {
	t := &Table{}
	limited := &io.LimitedReader{R: r, N: maxOctets + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := t.line(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if t.Len() > maxNetworks {
			return nil, fmt.Errorf("line %d: more than %d networks", n, maxNetworks)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("a line has over %d octets", maxLine)
	case err != nil:
		return nil, err
	case limited.N <= 0:
		return nil, fmt.Errorf("it has over %d MiB", maxOctets>>20)
	case t.Len() == 0:
		return nil, errors.New(`no network stands in it; write as "192.0.2.0/24 64500", one a line`)
	}
	return t, nil
}

// line adds what a line says.
func (t *Table) line(b []byte) error {
	b, _, _ = bytes.Cut(b, []byte("#"))
	f := firstFields(b)
	if f[0] == "" {
		return nil
	}
	if p, err := netip.ParsePrefix(f[0]); err == nil {
		return t.add(p, f[1])
	}
	from, err := netip.ParseAddr(f[0])
	if err != nil || from.Zone() != "" {
		return fmt.Errorf("%.50q is neither a network nor an address", f[0])
	}
	if bits, err := strconv.Atoi(f[1]); err == nil {
		p, err := from.Prefix(bits)
		if err != nil {
			return fmt.Errorf("%.50q is not the length of a network of %s", f[1], from)
		}
		return t.add(p, f[2])
	}
	to, err := netip.ParseAddr(f[1])
	if err != nil || to.Zone() != "" {
		return fmt.Errorf("%.50q is neither the length of a network nor the last address of a range", f[1])
	}
	return t.addRange(from.Unmap(), to.Unmap(), f[2])
}

// firstFields are the first three words of a line, "" where there are fewer.
func firstFields(b []byte) (f [3]string) {
	n := 0
	for word := range bytes.FieldsSeq(b) {
		if f[n] = string(word); n == 2 {
			break
		}
		n++
	}
	return f
}

// add adds a network.
func (t *Table) add(p netip.Prefix, text string) error {
	as, err := parseAS(text)
	if err != nil || as == 0 {
		return err
	}
	if a := p.Addr(); a.Is4In6() {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	least := widest6
	if p.Addr().Is4() {
		least = widest4
	}
	if p.Bits() < least { // also what Is4In6 has made invalid
		return fmt.Errorf("%s is too wide for one AS; /%d is the widest", p, least)
	}
	t.networks.Insert(p.Masked(), as)
	return nil
}

// addRange adds the networks that a range is made of.
func (t *Table) addRange(from, to netip.Addr, text string) error {
	if from.BitLen() != to.BitLen() || to.Less(from) {
		return fmt.Errorf("%s to %s is not a range", from, to)
	}
	if as, err := parseAS(text); err != nil || as == 0 {
		return err // most of the world belongs to none
	}
	for from.IsValid() && !to.Less(from) {
		p := netip.PrefixFrom(from, from.BitLen())
		for p.Bits() > 0 {
			wider, _ := from.Prefix(p.Bits() - 1) // within the address
			if wider.Addr() != from || to.Less(last(wider)) {
				break
			}
			p = wider
		}
		if err := t.add(p, text); err != nil {
			return err
		}
		from = last(p).Next()
	}
	return nil
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // as long as it was
	return a
}

// parseAS reads the number of an AS, the first where there are several.
func parseAS(text string) (uint32, error) {
	s := text
	for i := range len(s) {
		if s[i] == '_' || s[i] == ',' {
			s = s[:i]
			break
		}
	}
	if len(s) > 2 && (s[:2] == "AS" || s[:2] == "as") {
		s = s[2:]
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.50q is not the number of an AS", text)
	}
	return uint32(n), nil
}
