package storetest

import (
	"crypto/sha256"
	"encoding/binary"

	"postern/mail"
)

// HashRecipient is a hash of a recipient as a store gets it in Request.Distinct:
// keyed, and not 0 or 1.
func HashRecipient(name mail.RecipientID) uint64 { return keyedHash(1, string(name)) }

// keyedHash is that under one of several secrets.
func keyedHash(secret byte, name string) uint64 {
	sum := sha256.Sum256(append([]byte{secret}, name...))
	return max(2, binary.LittleEndian.Uint64(sum[:8]))
}

// PlainHash is what releases that had no secret counted for a recipient.
func PlainHash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return max(1, binary.LittleEndian.Uint64(sum[:8]))
}
