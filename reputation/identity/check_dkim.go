package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
	"postern/internal/text"
)

// key checks the record of one DKIM key against our private key.
func (p *Preflight) key(ctx context.Context, k KeyIdentity) {
	f, state := keyFinding(ctx, p.resolver, k)
	p.mu.Lock()
	p.keys[k.Domain+"/"+k.Selector] = state
	p.mu.Unlock()
	p.add(f)
}

// LookUpKey asks DNS whether a key is published, whatever the cache holds.
func LookUpKey(ctx context.Context, r *resolve.Resolver, k KeyIdentity) (Finding, KeyState) {
	a := r.AskNow(ctx, keyName(k), dns.TypeTXT)
	return judgeKey(k, a)
}

func keyFinding(ctx context.Context, r *resolve.Resolver, k KeyIdentity) (Finding, KeyState) {
	return judgeKey(k, r.Ask(ctx, keyName(k), dns.TypeTXT))
}

func keyName(k KeyIdentity) string { return k.Selector + "._domainkey." + k.Domain }

func judgeKey(k KeyIdentity, a resolve.Answer) (Finding, KeyState) {
	name := keyName(k)
	f := Finding{Check: "dkim", Status: Pass, Subject: k.Domain + "/" + k.Selector, Asked: "TXT " + name, Rule: "RFC 6376 s. 3.6.1"}
	if a.State == resolve.Fault {
		return unknown("dkim", f.Subject, "", f.Asked, a), KeyUnknown
	}
	values := keyRecords(resolve.Texts(a.RRs))
	if len(values) == 0 {
		f.Status, f.Seen = Fail, seenNothing(a)
		if other := resolve.Texts(a.RRs); len(other) > 0 {
			f.Seen = text.Clip(fmt.Sprintf("no such record, and a text that is not one: %q", other[0]), 200)
		}
		f.Record = txtRecord(name, k.Record)
		f.Change = "publish the record" + consequence(k) + inPlaceOf(f.Record, a)
		return f, KeyUnpublished
	}
	if len(values) > 1 {
		f.Status, f.Seen = Fail, fmt.Sprintf("%d records: %s", len(values), strings.Join(values, " | "))
		f.Change = "leave one record: receivers take any one of them"
		f.Record = txtRecord(name, k.Record)
		f.Rule = "RFC 6376 s. 3.6.2.2"
		return f, stateOfSeveral(k, values)
	}
	f.Seen = text.Clip(values[0], 200)
	state := judgeRecord(&f, k, values[0])
	f.Change += inPlaceOf(f.Record, a)
	return f, state
}

// consequence says what a missing record leads to.
func consequence(k KeyIdentity) string {
	switch k.RequirePublished {
	case "skip":
		return "; until then the key is not used (require_published)"
	case "defer":
		return "; until then mail of the domain waits where no other key is published (require_published)"
	}
	return "; until then the signature does not verify, and is made only where no other key is published"
}

// keyRecords leaves out texts that are not key records at all.
func keyRecords(texts []string) []string {
	return slices.DeleteFunc(texts, func(t string) bool {
		tags, err := parseTags(t)
		_, hasKey := tags["p"]
		return err == nil && !hasKey && tags["v"] != "DKIM1" || strings.HasPrefix(strings.ToLower(t), "v=spf1")
	})
}

// stateOfSeveral: a key is not published surely while another record stands
// beside its own.
func stateOfSeveral(k KeyIdentity, values []string) KeyState {
	for _, v := range values {
		var f Finding
		if judgeRecord(&f, k, v) != KeyPublished {
			return KeyUnpublished
		}
	}
	return KeyPublished
}

// judgeRecord holds one record against our key.
func judgeRecord(f *Finding, k KeyIdentity, record string) KeyState {
	fail := func(seen, change string) KeyState {
		f.Status, f.Change = Fail, change+consequence(k)
		f.Seen = seen + ": " + f.Seen
		f.Record = txtRecord(keyName(k), k.Record)
		return KeyUnpublished
	}
	tags, err := parseTags(record)
	switch {
	case err != nil:
		return fail("not a list of tags ("+err.Error()+")", "publish the record as it stands here")
	case tags["v"] != "" && (tags["v"] != "DKIM1" || firstTag(record) != "v"):
		return fail("v= is not DKIM1 or not first", "publish the record as it stands here")
	case !hasTag(tags, "p"):
		return fail("without p=", "publish the record as it stands here")
	case stripSpace(tags["p"]) == "":
		state := fail("revoked (p= is empty)", "take the key out of the configuration and make a new one under another selector: "+k.rotate())
		f.Record = "" // a revoked key does not come back
		return state
	}
	seen, err := publicKey(tags["k"], stripSpace(tags["p"]))
	if err != nil {
		return fail("a key that cannot be read ("+err.Error()+")", "publish the record as it stands here")
	}
	if seen.public != canonicalKey(k) || seen.kind != k.Type {
		return fail("another key than ours", "publish our key, or take the key file of the published one")
	}
	if h := tags["h"]; h != "" && !listed(h, "sha256") {
		return fail("h= leaves out sha256, with which we sign", "take h= out of the record")
	}
	if s := tags["s"]; s != "" && !listed(s, "email") && !listed(s, "*") {
		return fail("s= leaves out email", "take s= out of the record")
	}
	judgeStrength(f, k, tags["t"], seen)
	return KeyPublished
}

// judgeStrength warns of what verifies, but not as it should.
func judgeStrength(f *Finding, k KeyIdentity, flags string, key seenKey) {
	switch {
	case key.kind == "rsa" && key.bits < 1024:
		f.Status, f.Rule = Fail, "RFC 8301 s. 3.2"
		f.Seen = fmt.Sprintf("RSA of %d bits, which receivers do not accept: %s", key.bits, f.Seen)
		f.Change = "make a key of 2048 bits: " + k.rotate()
	case key.kind == "rsa" && key.bits < 2048:
		f.Status, f.Rule = Warn, "RFC 8301 s. 3.2"
		f.Seen = fmt.Sprintf("RSA of %d bits: %s", key.bits, f.Seen)
		f.Change = "make a key of 2048 bits: " + k.rotate()
	case listed(flags, "y"):
		f.Status = Warn
		f.Seen = "testing (t=y): " + f.Seen
		f.Change = "take t=y out of the record when mail verifies"
		f.Record = txtRecord(keyName(k), k.Record)
		if listed(flags, "s") {
			f.Record = txtRecord(keyName(k), k.Record+"; t=s")
		}
	}
}

type seenKey struct {
	kind   string
	bits   int
	public string // canonical, base64
}

// publicKey reads the tag p= of a record. RSA keys come as SubjectPublicKeyInfo
// or, as RFC 6376 says, as RSAPublicKey.
func publicKey(kind, p string) (seenKey, error) {
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return seenKey{}, errors.New("p= is not base64")
	}
	switch strings.ToLower(kind) {
	case "", "rsa":
		return rsaKey(der)
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return seenKey{}, fmt.Errorf("p= has %d octets, not %d", len(der), ed25519.PublicKeySize)
		}
		return seenKey{"ed25519", 256, base64.StdEncoding.EncodeToString(der)}, nil
	}
	return seenKey{}, fmt.Errorf("k=%s is unknown", kind)
}

func rsaKey(der []byte) (seenKey, error) {
	var key *rsa.PublicKey
	if any, err := x509.ParsePKIXPublicKey(der); err == nil {
		if key, _ = any.(*rsa.PublicKey); key == nil {
			return seenKey{}, errors.New("p= is no RSA key")
		}
	} else if key, err = x509.ParsePKCS1PublicKey(der); err != nil {
		return seenKey{}, errors.New("p= is no RSA key")
	}
	canonical, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return seenKey{}, err
	}
	return seenKey{"rsa", key.N.BitLen(), base64.StdEncoding.EncodeToString(canonical)}, nil
}

func canonicalKey(k KeyIdentity) string {
	seen, err := publicKey(k.Type, k.Public)
	if err != nil {
		return ""
	}
	return seen.public
}

// parseTags reads a tag list (RFC 6376 s. 3.2).
func parseTags(s string) (map[string]string, error) {
	tags := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok || !isTagName(name) {
			return nil, fmt.Errorf("%q is no tag", text.Clip(strings.TrimSpace(part), 40))
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("tag %s occurs twice", name)
		}
		tags[name] = strings.TrimSpace(value)
	}
	return tags, nil
}

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '_' && !resolve.IsDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

func hasTag(tags map[string]string, name string) bool {
	_, ok := tags[name]
	return ok
}

func firstTag(record string) string {
	name, _, _ := strings.Cut(record, "=")
	return strings.TrimSpace(name)
}

// listed reports whether word stands in a colon-separated list.
func listed(list, word string) bool {
	for item := range strings.SplitSeq(list, ":") {
		if strings.EqualFold(strings.TrimSpace(item), word) {
			return true
		}
	}
	return false
}

func stripSpace(s string) string { return strings.Join(strings.Fields(s), "") }
