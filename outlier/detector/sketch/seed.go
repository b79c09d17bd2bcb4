package sketch

import (
	"encoding/binary"
	"math/bits"
)

// Seed keys the hashes of names, so that nobody outside can choose names that
// collide. All nodes of a shared state have the same one.
type Seed [2]uint64

// SeedSize is the number of octets of a seed.
const SeedSize = 16

// Bytes is the form in which a seed is stored.
func (k Seed) Bytes() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, k[0]), k[1])
}

// ReadSeed reads what Bytes gives, of which there are SeedSize.
func ReadSeed(b []byte) Seed {
	return Seed{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// Hash is a keyed hash of s. It is not cryptographic: its values never leave
// the process and its state.
func (k Seed) Hash(s string) uint64 { return HashOf(k, s) }

// HashOf is Seed.Hash of a string or of its octets.
func HashOf[T string | []byte](k Seed, s T) uint64 {
	h := k[0] ^ uint64(len(s))*0x9E3779B97F4A7C15
	for len(s) > 8 {
		h = Mix(h^le64(s), k[1]^0xD6E8FEB86659FD93)
		s = s[8:]
	}
	var last [8]byte
	copy(last[:], s)
	h = Mix(h^binary.LittleEndian.Uint64(last[:]), k[1]^0xA0761D6478BD642F)
	return Mix(h^k[0], 0xE7037ED1A0B428DB)
}

func le64[T string | []byte](s T) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Mix makes one hash of two.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
