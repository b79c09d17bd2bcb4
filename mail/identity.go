package mail

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// Identity is what a sender is judged by, however its address is spelled: the
// local-part folded and quoted only where it must be, "@", the domain in
// lower-case A-labels. That of an address in lower-case ASCII is its Key. The
// null reverse-path has the identity NullSender. An Identity never goes on the
// wire: what is sent keeps the spelling that came.
//
// The local-part is folded by the mappings of UsernameCaseMapped (RFC 8265
// s. 3.3): wide and narrow forms, case, then composition (NFC). RFC 5321 s. 2.4
// lets a domain tell News@ from news@, but none gives the two to different
// people, and a rule against news@ must hold against News@. What that profile
// refuses (spaces, symbols) is mapped all the same, so that every address has
// one identity.
type Identity string

// NullSender is the identity of the null reverse-path.
const NullSender Identity = "<>"

// Identity is what a is judged by as a sender.
func (a Address) Identity() Identity {
	if a.IsNull() {
		return NullSender
	}
	return Identity(Address{Local: foldLocal(a.Local), Domain: a.Domain}.Key())
}

// IdentityOf is the identity of the address with this Key. For any other text the result
// depends on the text alone; a domain that is not in A-labels is only put in lower case.
// It does not allocate where the identity is the text itself.
func IdentityOf(key string) Identity {
	if isFolded(key) {
		return Identity(key)
	}
	return Identity(refold(key, foldLocal))
}

// Domain is the domain of the address; "" for the null sender and where there is
// none.
func (i Identity) Domain() string {
	if at := strings.LastIndexByte(string(i), '@'); at >= 0 {
		return string(i[at+1:])
	}
	return ""
}

// Untagged is the identity without the first "+" of the local-part and what follows it; a
// local-part that begins with "+" stays as it is.
func (i Identity) Untagged() Identity {
	if strings.IndexByte(string(i), '+') <= 0 {
		return i
	}
	return Identity(refold(string(i), func(local string) string {
		if plus := strings.IndexByte(local, '+'); plus > 0 {
			return local[:plus]
		}
		return local
	}))
}

// RecipientID is what a recipient is counted and suppressed by. It folds less
// than an Identity, for the mailbox is another's, who need not take our word on
// what is one name: the case of ASCII letters, quotes that are not needed, and
// composed and decomposed letters, which are the same text (Unicode s. 3.11).
type RecipientID string

// RecipientID is what a is counted and suppressed by as a recipient.
func (a Address) RecipientID() RecipientID {
	return RecipientID(Address{Local: foldRecipient(a.Local), Domain: a.Domain}.Key())
}

// RecipientOf is the RecipientID of the address with this Key; see IdentityOf.
func RecipientOf(key string) RecipientID {
	if isFolded(key) {
		return RecipientID(key)
	}
	return RecipientID(refold(key, foldRecipient))
}

// User is the one form of a SASL user name, however it is spelled: folded like the
// local-part of a sender, or where it is an address, the Identity of that. parse reads
// "local@domain"; nil stands for a parser that knows ASCII only.
func User(name string, parse func(string) (Address, error)) string {
	name = foldLocal(name)
	if !strings.Contains(name, "@") {
		return name
	}
	if a, err := ParseAddress(name, parse); err == nil {
		return string(a.Identity())
	}
	return name
}

// isFolded reports whether a key is surely its own identity: it has no capital,
// no octet beyond ASCII and no quote.
func isFolded(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= 'A' && c <= 'Z' || c >= 0x80 || c == '"' {
			return false
		}
	}
	return true
}

// refold puts fold of the local-part in its place in a key.
func refold(key string, fold func(string) string) string {
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return QuoteLocal(fold(unquoteLocal(key)))
	}
	domain := key[at+1:]
	if !strings.HasPrefix(domain, "[") {
		domain = LowerASCII(domain)
	}
	return QuoteLocal(fold(unquoteLocal(key[:at]))) + "@" + domain
}

// unquoteLocal takes quotes and escapes off a local-part.
func unquoteLocal(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	plain := make([]byte, 0, len(local))
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' && i+1 < len(local)-1 {
			i++
		}
		plain = append(plain, local[i])
	}
	return string(plain)
}

// foldRounds is how often the mappings are applied at most until nothing changes
// any more (RFC 8264 s. 7).
const foldRounds = 4

// foldLocal maps the spellings of a local-part to one.
func foldLocal(local string) string {
	if ASCII(local) || !utf8.ValidString(local) {
		return LowerASCII(local)
	}
	lower := cases.Lower(language.Und, cases.HandleFinalSigma(false))
	for range foldRounds {
		next := norm.NFC.String(lower.String(width.Fold.String(local)))
		if next == local {
			break
		}
		local = next
	}
	return local
}

// foldRecipient maps those spellings of a local-part to one that are safe to
// take for the same at another's domain.
func foldRecipient(local string) string {
	if ASCII(local) || !utf8.ValidString(local) {
		return LowerASCII(local)
	}
	return LowerASCII(norm.NFC.String(local)) // in this order: NFC makes the Kelvin sign a K
}

// LowerASCII puts A to Z in lower case and leaves all other octets alone. It allocates only
// where there is one to change.
func LowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; c < 'A' || c > 'Z' {
			continue
		}
		b := []byte(s)
		for ; i < len(b); i++ {
			if b[i] >= 'A' && b[i] <= 'Z' {
				b[i] += 'a' - 'A'
			}
		}
		return string(b)
	}
	return s
}
