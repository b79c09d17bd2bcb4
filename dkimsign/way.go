package dkimsign

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of Way.Sign that say something about the way, not about a key.
var (
	// errNotThisWay: none of the domain's keys is among those that sign on this
	// way out, although the domain requires a signature.
	errNotThisWay = errors.New("none of the domain's keys signs on this way")
	// ErrOneSignature: the one signature that this way lets out has been made for
	// another domain.
	ErrOneSignature = errors.New("only one signature leaves on this way")
)

// WayConfig says what of DKIM holds on one way out. An upstream has it, and a
// stream, where what is written holds before that of its upstream.
type WayConfig struct {
	// SignKeys are the keys that sign here, among those of the author's domain: by
	// their selectors, "s2026", or where domains share selectors by
	// "example.org/s2026"; "all"; "first", one signature for the whole message, by
	// the first key in the list of its first author's domain that may sign; or
	// "none", the message leaves unsigned. Blank: all.
	SignKeys KeyNames `toml:"sign_keys"`
	// UnsignedFields are header fields that signatures leave out, neither signed
	// nor sealed against being added, since who takes the mail replaces or adds
	// them. From is always signed (RFC 6376 s. 5.4). Blank: none.
	UnsignedFields []string `toml:"unsigned_fields"`
	// ClientSignatures says what becomes of DKIM-Signature fields that the client
	// has made itself, by a domain of its own: "keep", "remove", or "refuse" the
	// message (550 5.7.1). Signatures of other domains, as on forwarded mail,
	// stay. Blank: keep.
	ClientSignatures ClientSignatures `toml:"client_signatures"`
}

// KeyNames are names of keys ("s2026" or "example.org/s2026"), or one of SignAll, SignFirst
// and SignNone.
type KeyNames []string

// Words that may stand in KeyNames in place of names.
const (
	SignAll   = "all"
	SignFirst = "first"
	SignNone  = "none"
)

// UnmarshalText takes one of the words or one name; a blank text makes k nil.
func (k *KeyNames) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = nil
		return nil
	}
	*k = KeyNames{string(text)}
	return nil
}

// Is reports whether k is that word.
func (k KeyNames) Is(word string) bool { return len(k) == 1 && k[0] == word }

// Named reports whether k names keys, other than by one of the words.
func (k KeyNames) Named() bool {
	return len(k) > 0 && !k.Is(SignAll) && !k.Is(SignFirst) && !k.Is(SignNone)
}

// Holds reports whether k names a key, by its selector or by its domain and selector.
func (k KeyNames) Holds(domain, selector string) bool {
	return slices.ContainsFunc(k, func(name string) bool {
		return strings.EqualFold(name, selector) || strings.EqualFold(name, domain+"/"+selector)
	})
}

// ClientSignatures is what becomes of a client's own signatures.
type ClientSignatures string

// Values of ClientSignatures; the zero value counts as KeepSignatures.
const (
	KeepSignatures   ClientSignatures = "keep"
	RemoveSignatures ClientSignatures = "remove"
	RefuseSignatures ClientSignatures = "refuse"
)

// UnmarshalText takes the three values of ClientSignatures, and blank.
func (c *ClientSignatures) UnmarshalText(text []byte) error {
	switch v := ClientSignatures(text); v {
	case "", KeepSignatures, RemoveSignatures, RefuseSignatures:
		*c = v
		return nil
	}
	return fmt.Errorf(`%q is none of "keep", "remove", "refuse"`, text)
}

// MarshalText is the inverse of UnmarshalText.
func (c ClientSignatures) MarshalText() ([]byte, error) { return []byte(c), nil }

// Over returns c with the fields that it leaves blank taken from base.
func (c WayConfig) Over(base WayConfig) WayConfig {
	if c.SignKeys == nil {
		c.SignKeys = base.SignKeys
	}
	if c.UnsignedFields == nil {
		c.UnsignedFields = base.UnsignedFields
	}
	if c.ClientSignatures == "" {
		c.ClientSignatures = base.ClientSignatures
	}
	return c
}

// Check reports every problem of c by itself. That there are keys of the names
// is for who knows the [dkim] tables.
func (c *WayConfig) Check(report func(key, problem string)) {
	words := []string{SignAll, SignFirst, SignNone}
	for i, name := range c.SignKeys {
		domain, selector, both := strings.Cut(name, "/")
		switch {
		case len(c.SignKeys) > 1 && slices.Contains(words, name):
			report("sign_keys", fmt.Sprintf("%q stands beside other names; write it alone, or a key of that selector as \"DOMAIN/%s\"", name, name))
		case both && (CheckDomain(domain) != "" || !isHostName(selector)), !both && !isHostName(name):
			report(fmt.Sprintf("sign_keys.%d", i), fmt.Sprintf(`%q is not the name of a key; write its selector ("s2026"), or "example.org/s2026"`, name))
		}
	}
	for i, name := range c.UnsignedFields {
		switch {
		case strings.EqualFold(name, "From"):
			report(fmt.Sprintf("unsigned_fields.%d", i), "a signature without From is none (RFC 6376 s. 5.4); remove it, or sign nothing by sign_keys = \"none\"")
		case !isFieldName(name):
			report(fmt.Sprintf("unsigned_fields.%d", i), fmt.Sprintf(`%q is not the name of a header field; write it without a colon, as "Message-ID"`, name))
		}
	}
}

// isFieldName is field-name of RFC 5322 s. 2.2.
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// CanSign reports whether signatures cover a field of that name, where it is
// there or could be added.
func CanSign(name string) bool {
	_, ok := nameIndex([]byte(name))
	return ok
}

// Way is how the mail of one way out is signed. A nil one signs by all keys and
// all fields. It is safe for concurrent use.
type Way struct {
	keys KeyNames
	left []bool // by index in signedFields: not signed; nil: none
	own  ClientSignatures
}

// NewWay returns the Way of a configuration that has been checked.
func NewWay(c WayConfig) *Way {
	w := &Way{keys: c.SignKeys, own: c.ClientSignatures}
	for _, name := range c.UnsignedFields {
		if i, ok := nameIndex([]byte(name)); ok {
			if w.left == nil {
				w.left = make([]bool, len(signedFields))
			}
			w.left[i] = true
		}
	}
	return w
}

// Signs reports whether mail is signed on this way at all.
func (w *Way) Signs() bool { return w == nil || !w.keys.Is(SignNone) }

// One reports whether a message leaves with one signature at most.
func (w *Way) One() bool { return w != nil && w.keys.Is(SignFirst) }

// ClientSignatures is what becomes of signatures that the client has made.
func (w *Way) ClientSignatures() ClientSignatures {
	if w == nil || w.own == "" {
		return KeepSignatures
	}
	return w.own
}

// leaves reports whether signedFields[i] is not signed.
func (w *Way) leaves(i int) bool { return w != nil && w.left != nil && w.left[i] }

// choose returns the keys of d that may sign on this way, whatever DNS says of them.
func (w *Way) choose(d *Domain) ([]*Key, []string, error) {
	if w == nil || !w.keys.Named() {
		return d.keys, d.names, nil
	}
	var keys []*Key
	var names []string
	for _, k := range d.keys {
		if w.keys.Holds(d.name, k.Selector) {
			keys, names = append(keys, k), append(names, k.Name())
		}
	}
	switch {
	case len(keys) > 0:
		return keys, names, nil
	case d.unmade != nil:
		return nil, nil, d.unmade
	case d.config.Require:
		return nil, nil, errNotThisWay
	}
	return nil, nil, nil
}

// Sign is Domain.Sign on this way out.
func (w *Way) Sign(d *Domain, header []byte, body *BodyHash, now time.Time) (fields []byte, names []string, err error) {
	if !w.Signs() {
		return nil, nil, nil
	}
	keys, names, err := w.choose(d)
	if err == nil {
		keys, names, err = d.usable(keys, names)
	}
	if err != nil || len(keys) == 0 {
		return nil, nil, err
	}
	if w.One() {
		keys, names = keys[:1], names[:1]
	}
	fields, err = d.signBy(keys, w, header, body, now)
	if err != nil {
		return nil, nil, err
	}
	return fields, names, nil
}
