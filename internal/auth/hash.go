package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a hash may ask for. A check must stay within a second and a few hundred
// megabytes, or a handful of guesses would stop the relay.
const (
	maxArgonMemory = 256 * 1024  // KiB
	maxArgonWork   = 1024 * 1024 // KiB times passes
	maxArgonLanes  = 16
	maxBcryptCost  = 14
	maxSHARounds   = 500_000
	maxSHAPassword = 512 // octets; each round reads the whole password
	maxHashText    = 512 // octets
)

// What HashArgon2id and HashBcrypt ask for.
const (
	argonMemory = 19 * 1024 // KiB
	argonPasses = 2
	bcryptCost  = 11
)

// hash is a parsed password hash: argon2id when lanes is not 0, SHA-crypt where
// sha is not nil, else bcrypt.
type hash struct {
	memory, passes uint32 // KiB, times
	lanes          uint8
	salt, sum      []byte
	bcrypt         []byte
	sha            algorithm.Digest
}

// schemes are the names that Dovecot, postfixadmin and others put before a hash,
// with the beginnings of hashes that may follow.
var schemes = map[string][]string{
	"{ARGON2ID}":     {"$argon2id$"},
	"{BLF-CRYPT}":    {"$2a$", "$2b$", "$2y$"},
	"{SHA512-CRYPT}": {"$6$"},
	"{SHA256-CRYPT}": {"$5$"},
	"{CRYPT}":        {"$2a$", "$2b$", "$2y$", "$5$", "$6$"},
}

// bare takes the name of a scheme away from a hash.
func bare(s string) (string, error) {
	end := strings.IndexByte(s, '}')
	if !strings.HasPrefix(s, "{") || end < 0 {
		return s, nil
	}
	name, rest := strings.ToUpper(s[:end+1]), s[end+1:]
	if !slices.ContainsFunc(schemes[name], func(start string) bool { return strings.HasPrefix(rest, start) }) {
		return "", errKind
	}
	return rest, nil
}

var errKind = errors.New("is a hash of another kind than argon2id, bcrypt, SHA512-CRYPT and SHA256-CRYPT, with or without their names such as {BLF-CRYPT} before them; " +
	"make a new one by: relay hash-password")

// parseHash reads an argon2id hash in PHC form, a bcrypt hash, or one of
// SHA-crypt ($6$, $5$), each also with the name of its scheme before it, as
// other programs store them. It refuses parameters that would make one check
// absurdly dear.
func parseHash(s string) (*hash, error) {
	switch {
	case s == "":
		return nil, errors.New("is missing")
	case len(s) > maxHashText:
		return nil, fmt.Errorf("is longer than %d octets", maxHashText)
	}
	s, err := bare(s)
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$6$"), strings.HasPrefix(s, "$5$"):
		return parseSHACrypt(s)
	case strings.HasPrefix(s, "$"):
		return nil, errKind
	}
	return nil, errors.New("is not a hash")
}

func parseBcrypt(s string) (*hash, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 {
		return nil, errors.New("is a damaged bcrypt hash")
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("has bcrypt cost %d; at most %d is taken, or each guess costs seconds", cost, maxBcryptCost)
	}
	return &hash{bcrypt: []byte(s)}, nil
}

// parseSHACrypt reads $6$SALT$SUM or $6$rounds=10000$SALT$SUM.
func parseSHACrypt(s string) (*hash, error) {
	if digits, ok := strings.CutPrefix(s[len("$6$"):], "rounds="); ok {
		digits, _, _ = strings.Cut(digits, "$")
		if n, err := strconv.ParseUint(digits, 10, 31); err != nil || n > maxSHARounds {
			return nil, fmt.Errorf("has SHA-crypt rounds=%s; at most %d are taken, or each guess costs seconds", digits, maxSHARounds)
		}
	}
	sum := s[strings.LastIndexByte(s, '$')+1:]
	wrong := len(sum) != map[byte]int{'6': 86, '5': 43}[s[1]] || strings.Trim(sum, shacrypt.SaltCharSet) != ""
	d, err := shacrypt.Decode(s)
	if err != nil || wrong {
		return nil, errors.New("is a damaged SHA-crypt hash")
	}
	return &hash{sha: d}, nil
}

// parseArgon reads $argon2id$v=19$m=19456,t=2,p=1$SALT$SUM.
func parseArgon(s string) (*hash, error) {
	damaged := errors.New("is a damaged argon2id hash")
	part := strings.Split(s, "$")
	if len(part) != 6 || part[2] != "v=19" {
		return nil, damaged
	}
	m, t, p, ok := argonCosts(part[3])
	salt, err := base64.RawStdEncoding.Strict().DecodeString(part[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(part[5])
	if !ok || err != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return nil, damaged
	}
	if m > maxArgonMemory || m*t > maxArgonWork || p > maxArgonLanes {
		return nil, fmt.Errorf("has argon2id parameters m=%d,t=%d,p=%d; at most m=%d, m*t=%d and p=%d are taken, or each guess costs seconds",
			m, t, p, maxArgonMemory, maxArgonWork, maxArgonLanes)
	}
	return &hash{memory: uint32(m), passes: uint32(t), lanes: uint8(p), salt: salt, sum: sum}, nil
}

// argonCosts reads "m=19456,t=2,p=1".
func argonCosts(s string) (m, t, p uint64, ok bool) {
	part := strings.Split(s, ",")
	if len(part) != 3 {
		return 0, 0, 0, false
	}
	var n [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, found := strings.CutPrefix(part[i], name)
		v, err := strconv.ParseUint(digits, 10, 31)
		if !found || err != nil || v == 0 {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	return n[0], n[1], n[2], n[0] >= 8*n[2] // RFC 9106 s. 3.1: 8*p KiB at least
}

// matches spends the whole cost of h, whatever the answer.
func (h *hash) matches(password string) bool {
	if h.sha != nil {
		long := len(password) > maxSHAPassword
		return h.sha.Match(password[:min(len(password), maxSHAPassword)]) && !long
	}
	if h.lanes == 0 {
		return bcrypt.CompareHashAndPassword(h.bcrypt, []byte(password)) == nil
	}
	sum := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// HashArgon2id is the argon2id hash of password in PHC form with a fresh salt.
func HashArgon2id(password string) string {
	salt := make([]byte, 16)
	rand.Read(salt)
	sum := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, 1, 32)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s",
		argonMemory, argonPasses, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// HashBcrypt is the bcrypt hash of password. Bcrypt reads only 72 octets of a
// password; a longer one is an error.
func HashBcrypt(password string) (string, error) {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
	if err != nil {
		return "", fmt.Errorf("hash with bcrypt: %w", err)
	}
	return string(h), nil
}
