package outlier

import "math"

// count is a number of recipients in sixteen bits: exact up to 2,047, beyond
// that with eleven significant bits.
type count uint16

func (c count) float() float32 {
	e := c >> 11
	if e == 0 {
		return float32(c)
	}
	return float32(uint64(c&0x7FF|0x800) << (e - 1))
}

// plus adds n. What eleven bits cannot hold is rounded up or down in
// proportion, decided by dither, so that many small numbers add up rightly.
func (c count) plus(n float32, dither uint32) count {
	if n <= 0 {
		return c
	}
	sum := c.float() + n
	if sum < 2048 {
		return count(sum + 0.5)
	}
	return pack(float64(sum), float64(dither*0x9E3779B1)/(1<<32))
}

// pack puts a number from 2,048 on into sixteen bits, after adding a part of
// the step that they can tell apart.
func pack(f, part float64) count {
	b := math.Float64bits(min(f, 1<<41))
	e := b>>52 - 1033                                     // f is in [2^(10+e), 2^(11+e))
	m := uint64(math.Float64frombits(b-(e-1)<<52) + part) // f/2^(e-1), without the division
	if m >= 4096 {
		m, e = m/2, e+1
	}
	return count(e<<11) | count(m&0x7FF)
}

// level is a record: a number of recipients in steps of 1/64, likewise in
// sixteen bits.
type level uint16

func (l level) float() float32 { return count(l).float() / 64 }

func toLevel(f float32) level {
	f *= 64
	if f < 2047.5 {
		return level(max(f, 0) + 0.5)
	}
	return level(pack(float64(max(f, 2048)), 0.5))
}
