package redisstore

import (
	"strconv"
	"strings"

	"postern/ratelimit"
)

// The keys of Redis, all below the prefix P:
//
//	P:b:LIMIT:{SLOT}REST       state of a budget; SLOT and REST are its Key
//	P:a:{SLOT}:NODE:SERIES     marks of attempts, 16 in each
//	P:a:NODE:SERIES            the same where there is no Cluster
//	P:nodes                    nodes, with the time they were last seen
//	P:raises                   all allowances, for the list of them
//	P:secret                   what hashes of recipients are keyed with
//
// In LIMIT everything but letters, digits, "-", "_" and "." is written as %XX.

func (r *Store) budgetKey(limit string, key []byte) string {
	slot := len(slotOf(key))
	b := make([]byte, 0, len(r.prefix)+len(limit)+len(key)+6)
	b = append(b, r.prefix...)
	b = append(b, ":b:"...)
	b = appendEscaped(b, limit)
	b = append(b, ":{"...)
	b = append(b, key[:slot]...)
	b = append(b, '}')
	return string(append(b, key[slot:]...))
}

// parseBudgetKey is the reverse of budgetKey.
func (r *Store) parseBudgetKey(name string) (limit, key string, ok bool) {
	rest, ok := strings.CutPrefix(name, r.prefix+":b:")
	if !ok {
		return "", "", false
	}
	escaped, rest, ok := strings.Cut(rest, ":{")
	if !ok {
		return "", "", false
	}
	if limit, ok = unescape(escaped); !ok {
		return "", "", false
	}
	slot, rest, more := strings.Cut(rest, " ")
	slot, ok = strings.CutSuffix(slot, "}")
	if more {
		slot += " " + rest
	}
	return limit, slot, ok
}

func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), true
}

// marksInSeries is how many attempts of a node share a key: they are found fast
// and take little memory.
const marksInSeries = 16

func (r *Store) markKey(slot []byte, id ratelimit.Attempt) string {
	b := append([]byte(r.prefix), ":a:"...)
	if r.cluster != nil {
		b = append(append(append(b, '{'), slot...), "}:"...)
	}
	b = strconv.AppendUint(b, id.Node, 36)
	b = append(b, ':')
	return string(strconv.AppendUint(b, id.Seq/marksInSeries, 36))
}

// fieldOf names a part of an attempt within its series.
func fieldOf(id ratelimit.Attempt, part int) string {
	field := strconv.FormatUint(id.Seq%marksInSeries, 10)
	if part > 0 {
		field += "." + strconv.Itoa(part)
	}
	return field
}

// batchKeys are those of the budgets, and the one for marks.
func (r *Store) batchKeys(b *ratelimit.Batch) []string {
	keys := make([]string, 0, len(b.Budgets)+1)
	for i := range b.Budgets {
		keys = append(keys, r.budgetKey(b.Budgets[i].Limit, b.Budgets[i].Key))
	}
	return append(keys, r.markKey(b.Budgets[0].Slot(), b.ID))
}

// keyList numbers keys from 1.
type keyList struct{ list []string }

func (k *keyList) index(key string) int {
	for i, old := range k.list {
		if old == key {
			return i + 1
		}
	}
	k.list = append(k.list, key)
	return len(k.list)
}
