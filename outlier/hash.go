package outlier

import (
	"encoding/binary"
	"math/bits"
)

// seed keys the hashes of names, so that nobody outside can choose names that
// collide. All nodes of a shared state have the same one.
type seed [2]uint64

// seedSize is the number of octets of a seed.
const seedSize = 16

func (k seed) bytes() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, k[0]), k[1])
}

// readSeed reads what bytes gives.
func readSeed(b []byte) seed {
	return seed{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// hash is a keyed hash of s. It is not cryptographic: its values never leave
// the process and its state.
func (k seed) hash(s string) uint64 {
	h := k[0] ^ uint64(len(s))*0x9E3779B97F4A7C15
	for len(s) > 8 {
		h = mix(h^le64(s), k[1]^0xD6E8FEB86659FD93)
		s = s[8:]
	}
	var last [8]byte
	copy(last[:], s)
	h = mix(h^binary.LittleEndian.Uint64(last[:]), k[1]^0xA0761D6478BD642F)
	return mix(h^k[0], 0xE7037ED1A0B428DB)
}

func le64(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
