package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
)

// testKeys are keys of which the zones below hold the records.
type testKeys struct{ rsa, other, small, tiny, ed KeyIdentity }

func rsaIdentity(pub *rsa.PublicKey) KeyIdentity {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	p := base64.StdEncoding.EncodeToString(der)
	return KeyIdentity{Type: "rsa", Bits: pub.N.BitLen(), Public: p, Record: "v=DKIM1; k=rsa; p=" + p}
}

// newTestKeys makes public keys only: nothing is signed here.
func newTestKeys(t *testing.T) (k testKeys) {
	t.Helper()
	modulus := func(bits int) *rsa.PublicKey {
		n := new(big.Int).SetBit(new(big.Int), bits-1, 1)
		low, err := rand.Int(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		return &rsa.PublicKey{N: n.Or(n, low).SetBit(n, 0, 1), E: 65537}
	}
	k.rsa, k.other = rsaIdentity(modulus(2048)), rsaIdentity(modulus(2048))
	k.small, k.tiny = rsaIdentity(modulus(1024)), rsaIdentity(modulus(768))
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(pub)
	k.ed = KeyIdentity{Type: "ed25519", Bits: 256, Public: p, Record: "v=DKIM1; k=ed25519; p=" + p}
	return k
}

// txt writes a TXT record in strings of at most 200 octets.
func txt(name, value string) string {
	line := name + " TXT"
	for value != "" {
		n := min(200, len(value))
		line += fmt.Sprintf(" %q", value[:n])
		value = value[n:]
	}
	return line + "\n"
}

func dkimZone(k testKeys) string {
	key := func(selector, value string) string { return txt(selector+"._domainkey.dkim", value) }
	der, _ := base64.StdEncoding.DecodeString(k.rsa.Public)
	pub, _ := x509.ParsePKIXPublicKey(der)
	pkcs1 := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(pub.(*rsa.PublicKey)))
	return key("good", k.rsa.Record) + key("ed", k.ed.Record) + key("other", k.other.Record) + key("small", k.small.Record) + key("tiny", k.tiny.Record) +
		key("test", k.rsa.Record+"; t=y") + key("revoked", "v=DKIM1; k=rsa; p=") + key("sha1", "v=DKIM1; h=sha1; p="+k.rsa.Public) +
		key("sha256", "v=DKIM1; h=sha1:sha256; s=email; p="+k.rsa.Public) + key("tls", "v=DKIM1; s=tlsrpt; p="+k.rsa.Public) +
		key("bare", "p="+k.rsa.Public) + key("pkcs1", "v=DKIM1; p="+pkcs1) + key("broken", "v=DKIM1; k=rsa; p=%%%") +
		key("nokey", "v=DKIM1; k=rsa") + key("version", "v=DKIM2; p="+k.rsa.Public) + key("kind", "v=DKIM1; k=rsa; p="+k.ed.Public) +
		key("two", k.rsa.Record) + key("two", k.other.Record) + key("blanks", "v=DKIM1 k=rsa p="+k.rsa.Public) + key("strict", k.rsa.Record+"; t=s") + key("notags", "hello world") +
		"alias._domainkey.dkim CNAME good._domainkey.dkim\n" +
		"s1._domainkey.signed " + strings.TrimPrefix(txt("", k.rsa.Record), " ") + "s1._domainkey.only " + strings.TrimPrefix(txt("", k.rsa.Record), " ")
}

const addressZone = `
mail.pass A 192.0.2.1
mail.pass AAAA 2001:db8::1
mail.v6only AAAA 2001:db8::1
unconfirmed A 192.0.2.99
provider.isp A 192.0.2.4
h-192-0-2-5.isp A 192.0.2.5
dyn7.pool.isp A 192.0.2.7
one.pass A 192.0.2.8
two.pass A 192.0.2.8
elsewhere A 192.0.2.200
other.pass A 192.0.2.200
alias.pass CNAME mail.pass
x-servfail NS ns.faulty
x-silent NS ns.faulty
ns.faulty A 127.0.0.1
`

const reverseZone = `
1 PTR mail.pass.example.
2 PTR unconfirmed.example.
4 PTR provider.isp.example.
5 PTR h-192-0-2-5.isp.example.
7 PTR dyn7.pool.isp.example.
8 PTR one.pass.example.
8 PTR two.pass.example.
9 PTR gone.example.
10 PTR ptr.x-servfail.faulty.
`

const spfZone = `
spf-pass TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
spf-include TXT "v=spf1 include:spf-pass.example -all"
spf-redirect TXT "v=spf1 redirect=spf-pass.example"
spf-a TXT "v=spf1 a -all"
spf-a A 192.0.2.1
spf-mx TXT "v=spf1 mx -all"
spf-mx MX 10 mail.pass
spf-fail TXT "v=spf1 ip4:198.51.100.0/24 -all"
spf-soft TXT "v=spf1 ip4:198.51.100.0/24 ~all"
spf-neutral TXT "v=spf1 ip4:198.51.100.0/24 ?all"
spf-end TXT "v=spf1 ip4:198.51.100.0/24"
spf-none TXT "something else"
spf-two TXT "v=spf1 ip4:192.0.2.1 -all"
spf-two TXT "v=spf1 mx -all"
spf-plus TXT "v=spf1 +all"
spf-bad TXT "v=spf1 ip4:192.0.2.300 -all"
spf-split TXT "v=spf1 ip4:192." "0.2.1 -all"
spf-long TXT "v=spf1 a:n1.x.example a:n2.x.example -all"
spf-temp TXT "v=spf1 include:inc.x-servfail.faulty -all"
spf-void TXT "v=spf1 a:v1.example a:v2.example a:v3.example -all"
spf-late TXT "v=spf1 ip4:192.0.2.1 ipv4:198.51.100.1 -all"
spf-tail TXT "v=spf1 ip4:192.0.2.1 -all mx:"
spf-inc-late TXT "v=spf1 include:spf-late.example -all"
spf-self TXT "v=spf1 include:spf-self.example -all"
spf-alias CNAME alias-target
alias-target A 192.0.2.1
spf-local TXT "v=spf1 exists:%{l}.senders.example -all"
spf-ten TXT "v=spf1 a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example a:mail.v6only.example ip4:198.51.100.1 a:mail.pass.example -all"
`

const mxZone = `
mx-good MX 10 mail.pass
mx-null MX 0 .
mx-none A 192.0.2.1
mx-nothing TXT "x"
mx-gone MX 10 gone
mx-alias MX 10 alias.pass
mx-mixed MX 0 .
mx-mixed MX 10 mail.pass
mx-doubt MX 10 mail.x-servfail.faulty.
mx-half MX 5 gone
mx-half MX 10 mail.pass
`

func dmarcZone(k testKeys) string {
	return `
_dmarc.signed TXT "v=DMARC1; p=reject; rua=mailto:d@signed.example"
signed MX 10 mail.pass
signed TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.unsigned TXT "v=DMARC1; p=reject"
unsigned TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bare TXT "v=DMARC1; p=quarantine"
bare TXT "v=spf1 -all"
_dmarc.loose TXT "v=DMARC1; p=none"
loose TXT "v=spf1 -all"
_dmarc.two TXT "v=DMARC1; p=none"
_dmarc.two TXT "v=DMARC1; p=reject"
_dmarc.wrong TXT "v=DMARC1; p=nonsense"
_dmarc.report TXT "v=DMARC1; p=nonsense; rua=mailto:d@report.example"
sub.signed MX 10 mail.pass
_dmarc.strict TXT "v=DMARC1; p=reject; adkim=s"
sub.strict MX 10 mail.pass
s1._domainkey.strict ` + strings.TrimPrefix(txt("", k.rsa.Record), " ") + `
nothing A 192.0.2.1
_dmarc.org TXT "v=DMARC1; p=reject; sp=none; np=quarantine; psd=n"
real.org A 192.0.2.1
`
}

func identityZones(k testKeys) map[string]string {
	return map[string]string{
		"example":                  "ns A 127.0.0.1\n" + addressZone + spfZone + mxZone + dmarcZone(k) + dkimZone(k),
		"2.0.192.in-addr.arpa":     reverseZone,
		"8.b.d.0.1.0.0.2.ip6.arpa": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR mail.pass.example.\n",
	}
}

// identityCase is one check on the zones above.
type identityCase struct {
	name   string
	id     Presence
	check  string
	want   Status
	result string // of SPF or DMARC; "" is not looked at
	say    string // somewhere in the finding
}

func oneDomain(domain, ip string) Presence {
	id := oneStream("mail.pass.example", ip)
	id.Domains = []DomainIdentity{{Name: domain, Streams: []string{"main"}}}
	return id
}

func signedDomain(domain, signer, ip string, k KeyIdentity) Presence {
	id := oneDomain(domain, ip)
	id.Domains[0].SignedBy = signer
	k.Domain, k.Selector = signer, "s1"
	id.Keys = []KeyIdentity{k}
	return id
}

func oneKey(selector string, k KeyIdentity) Presence {
	k.Domain, k.Selector = "dkim.example", selector
	return Presence{Keys: []KeyIdentity{k}}
}

func addressCases() []identityCase {
	return []identityCase{
		{"reverse name confirmed and the EHLO name", oneStream("mail.pass.example", "192.0.2.1"), "ptr", Pass, "", "mail.pass.example"},
		{"reverse name of an IPv6 address", oneStream("mail.pass.example", "2001:db8::1"), "ptr", Pass, "", ""},
		{"no reverse name", oneStream("mail.pass.example", "192.0.2.3"), "ptr", Fail, "", "3.2.0.192.in-addr.arpa. IN PTR mail.pass.example."},
		{"no reverse name of an IPv6 address", oneStream("mail.pass.example", "2001:db8::2"), "ptr", Fail, "", "ip6.arpa. IN PTR mail.pass.example."},
		{"reverse name that points elsewhere", oneStream("mail.pass.example", "192.0.2.2"), "ptr", Fail, "", "unconfirmed.example. IN A 192.0.2.2"},
		{"reverse name that does not exist", oneStream("mail.pass.example", "192.0.2.9"), "ptr", Fail, "", "gone.example. IN A 192.0.2.9"},
		{"reverse name of the provider", oneStream("mail.pass.example", "192.0.2.4"), "ptr", Warn, "", "EHLO says mail.pass.example"},
		{"reverse name with the address in it", oneStream("mail.pass.example", "192.0.2.5"), "ptr", Warn, "", "looks generated"},
		{"reverse name with the word pool", oneStream("mail.pass.example", "192.0.2.7"), "ptr", Warn, "", "looks generated"},
		{"EHLO name with the address in it", oneStream("h-192-0-2-5.isp.example", "192.0.2.5"), "ptr", Warn, "", "looks generated"},
		{"two reverse names", oneStream("one.pass.example", "192.0.2.8"), "ptr", Warn, "", "several reverse names"},
		{"reverse zone that fails", oneStream("mail.pass.example", "198.51.100.1"), "ptr", Unknown, "", "SERVFAIL"},
		{"forward zone that fails", oneStream("mail.pass.example", "192.0.2.10"), "ptr", Unknown, "", "no usable answer"},
		{"EHLO name resolves back", oneStream("mail.pass.example", "192.0.2.1", "2001:db8::1"), "ehlo", Pass, "", ""},
		{"EHLO name without the IPv6 address", oneStream("one.pass.example", "192.0.2.8", "2001:db8::1"), "ehlo", Fail, "", "one.pass.example. IN AAAA 2001:db8::1"},
		{"EHLO name of another host", oneStream("other.pass.example", "192.0.2.1"), "ehlo", Fail, "", "other.pass.example. IN A 192.0.2.1"},
		{"EHLO name behind a provider", oneStream("elsewhere.example", "192.0.2.4"), "ehlo", Warn, "", "provider"},
		{"EHLO name that does not exist", oneStream("gone.example", "192.0.2.1"), "ehlo", Fail, "", "NXDOMAIN"},
		{"EHLO name without a dot", oneStream("mail", "192.0.2.1"), "ehlo", Fail, "", "not fully qualified"},
		{"EHLO name that is a CNAME", oneStream("alias.pass.example", "192.0.2.1"), "ehlo", Warn, "", "CNAME"},
		{"EHLO name whose zone fails", oneStream("mail.x-servfail.faulty", "192.0.2.1"), "ehlo", Unknown, "", "SERVFAIL"},
		{"private address", oneStream("mail.pass.example", "10.0.0.1"), "address", Warn, "", "public_ips"},
		{"no address", oneStream("mail.pass.example"), "address", Unknown, "", "public_ips"},
	}
}

func spfCases() []identityCase {
	spf := func(name, domain string, want Status, result, say string) identityCase {
		return identityCase{name, oneDomain(domain, "192.0.2.1"), "spf", want, result, say}
	}
	return []identityCase{
		spf("address named", "spf-pass.example", Pass, "pass", "ip4:192.0.2.0/24"),
		{"IPv6 address named", oneDomain("spf-pass.example", "2001:db8::1"), "spf", Pass, "pass", "ip6:2001:db8::/32"},
		spf("address in an include", "spf-include.example", Pass, "pass", "include:spf-pass.example"),
		spf("address behind a redirect", "spf-redirect.example", Pass, "pass", "redirect=spf-pass.example"),
		spf("address of the domain", "spf-a.example", Pass, "pass", "by a"),
		spf("address of its MX", "spf-mx.example", Pass, "pass", "by mx"),
		spf("record in two strings", "spf-split.example", Pass, "pass", "ip4:192.0.2.1"),
		spf("fail", "spf-fail.example", Fail, "fail", `"v=spf1 ip4:192.0.2.1 ip4:198.51.100.0/24 -all"`),
		spf("softfail", "spf-soft.example", Warn, "softfail", "by ~all"),
		spf("neutral", "spf-neutral.example", Warn, "neutral", "by ?all"),
		spf("neutral at the end", "spf-end.example", Warn, "neutral", "the end of the record"),
		spf("none", "spf-none.example", Fail, "none", `spf-none.example. IN TXT "v=spf1 ip4:192.0.2.1 ~all"`),
		spf("none, no such domain", "gone.example", Fail, "none", "publish an SPF record"),
		spf("two records", "spf-two.example", Fail, "permerror", "there are 2"),
		spf("everybody", "spf-plus.example", Warn, "pass", "everybody"),
		spf("bad syntax", "spf-bad.example", Fail, "permerror", "mend the record"),
		spf("eleven look-ups", "spf-ten.example", Fail, "permerror", "ten look-ups"),
		spf("three void look-ups", "spf-void.example", Fail, "permerror", "do not exist"),
		spf("include that fails", "spf-temp.example", Unknown, "temperror", ""),
		spf("zone that fails", "x-servfail.faulty", Unknown, "temperror", ""),
		spf("fault behind our address", "spf-late.example", Fail, "permerror", `spf-late.example. IN TXT "v=spf1 ip4:192.0.2.1 -all"`),
		spf("fault behind all", "spf-tail.example", Fail, "permerror", `"mx:" names no domain`),
		spf("include of a record with a fault", "spf-inc-late.example", Fail, "permerror", "have the record of spf-late.example mended"),
		spf("include of itself", "spf-self.example", Fail, "permerror", `leads back to itself | spf-self.example. IN TXT "v=spf1 ip4:192.0.2.1 -all"`),
		spf("record beside no other, as it is a CNAME", "spf-alias.example", Fail, "none", "CNAME to alias-target.example."),
		spf("local-part of the sender", "spf-local.example", Unknown, "fail", "%{l}"),
		spf("zone that is silent", "x-silent.faulty", Unknown, "temperror", ""),
		spf("answer over TCP", "x-truncated.faulty", Pass, "pass", "ip4:192.0.2.1"),
	}
}

func dkimCases(k testKeys) []identityCase {
	dkim := func(name, selector string, key KeyIdentity, want Status, say string) identityCase {
		return identityCase{name, oneKey(selector, key), "dkim", want, "", say}
	}
	dead := k.rsa
	dead.Domain, dead.Selector = "x-servfail.faulty", "s1"
	return []identityCase{
		dkim("RSA key published", "good", k.rsa, Pass, ""),
		dkim("Ed25519 key published", "ed", k.ed, Pass, ""),
		dkim("behind a CNAME", "alias", k.rsa, Pass, ""),
		dkim("as RSAPublicKey", "pkcs1", k.rsa, Pass, ""),
		dkim("without v=", "bare", k.rsa, Pass, ""),
		dkim("h= with sha256 and s=email", "sha256", k.rsa, Pass, ""),
		dkim("t=s", "strict", k.rsa, Pass, ""),
		dkim("missing", "gone", k.rsa, Fail, "gone._domainkey.dkim.example. IN TXT"),
		dkim("another key", "other", k.rsa, Fail, "another key than ours"),
		dkim("another kind of key", "ed", k.rsa, Fail, "another key than ours"),
		dkim("revoked", "revoked", k.rsa, Fail, "revoked"),
		dkim("1024 bits", "small", k.small, Warn, "RSA of 1024 bits"),
		dkim("768 bits", "tiny", k.tiny, Fail, "RSA of 768 bits"),
		dkim("t=y", "test", k.rsa, Warn, "testing"),
		dkim("h= without sha256", "sha1", k.rsa, Fail, "sha256"),
		dkim("s= without email", "tls", k.rsa, Fail, "s= leaves out email"),
		dkim("no base64", "broken", k.rsa, Fail, "not base64"),
		dkim("no p=", "nokey", k.rsa, Fail, "without p="),
		dkim("wrong version", "version", k.rsa, Fail, "v= is not DKIM1"),
		dkim("no RSA key", "kind", k.rsa, Fail, "cannot be read"),
		dkim("two records", "two", k.rsa, Fail, "2 records"),
		dkim("no tags", "notags", k.rsa, Fail, ""),
		dkim("blanks for semicolons", "blanks", k.rsa, Fail, `a text that is not one: "v=DKIM1 k=rsa p=`),
		{"zone that fails", Presence{Keys: []KeyIdentity{dead}}, "dkim", Unknown, "", "SERVFAIL"},
	}
}

func dmarcCases(k testKeys) []identityCase {
	dmarc := func(name string, id Presence, want Status, result, say string) identityCase {
		return identityCase{name, id, "dmarc", want, result, say}
	}
	below := signedDomain("signed.example", "signed.example", "192.0.2.1", k.rsa)
	below.Domains[0].Below = true
	strictBelow := signedDomain("strict.example", "strict.example", "192.0.2.1", k.rsa)
	strictBelow.Domains[0].Below = true
	return []identityCase{
		dmarc("signed and aligned", signedDomain("signed.example", "signed.example", "192.0.2.1", k.rsa), Pass, "reject", "DKIM by signed.example would pass"),
		dmarc("subdomain signed by its parent", signedDomain("sub.signed.example", "signed.example", "192.0.2.1", k.rsa), Pass, "reject", "would pass"),
		dmarc("all subdomains", below, Pass, "reject", ""),
		dmarc("subdomain under adkim=s", signedDomain("sub.strict.example", "strict.example", "192.0.2.1", k.rsa), Fail, "reject", "not aligned"),
		dmarc("all subdomains under adkim=s", strictBelow, Fail, "reject", ""),
		dmarc("SPF only", oneDomain("unsigned.example", "192.0.2.1"), Warn, "reject", "forwarding"),
		dmarc("neither, quarantine", oneDomain("bare.example", "192.0.2.1"), Fail, "quarantine", "asked to quarantine"),
		dmarc("neither, none", oneDomain("loose.example", "192.0.2.1"), Warn, "none", "before the policy becomes stricter"),
		dmarc("signed by somebody else", signedDomain("bare.example", "signed.example", "192.0.2.1", k.rsa), Fail, "quarantine", "would not pass"),
		dmarc("no record", oneDomain("nothing.example", "192.0.2.1"), Warn, "", `_dmarc.nothing.example. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@nothing.example"`),
		dmarc("two records", oneDomain("two.example", "192.0.2.1"), Fail, "", `2 records at _dmarc.two.example, which count as none | leave one record, such as this one | _dmarc.two.example. IN TXT "v=DMARC1; p=reject"`),
		dmarc("policy that is none", oneDomain("wrong.example", "192.0.2.1"), Fail, "", "without a valid policy"),
		dmarc("policy that is none, with reports", oneDomain("report.example", "192.0.2.1"), Warn, "none", ""),
		dmarc("sp= for a subdomain", oneDomain("real.org.example", "192.0.2.1"), Warn, "none", "_dmarc.org.example"),
		dmarc("np= for one that does not exist", oneDomain("gone.org.example", "192.0.2.1"), Fail, "quarantine", "_dmarc.org.example"),
		dmarc("zone that fails", oneDomain("x-servfail.faulty", "192.0.2.1"), Unknown, "", "SERVFAIL"),
	}
}

func mxCases() []identityCase {
	mx := func(name, domain string, want Status, say string) identityCase {
		return identityCase{name, oneDomain(domain, "192.0.2.1"), "mx", want, "", say}
	}
	return []identityCase{
		mx("usable", "mx-good.example", Pass, "10 mail.pass.example."),
		mx("one of two usable", "mx-half.example", Pass, ""),
		mx("null MX", "mx-null.example", Fail, "takes no mail"),
		mx("null MX beside another", "mx-mixed.example", Fail, "stand alone"),
		mx("no MX, but an address", "mx-none.example", Warn, "no MX"),
		mx("neither", "mx-nothing.example", Fail, "names the host"),
		mx("neither, but a host called mail", "pass.example", Fail, "pass.example. IN MX 10 mail.pass.example."),
		mx("no such domain", "gone.example", Fail, "NXDOMAIN"),
		mx("MX that does not resolve", "mx-gone.example", Fail, "none of which has an address"),
		mx("MX that is a CNAME", "mx-alias.example", Warn, "CNAME"),
		mx("MX whose zone fails", "mx-doubt.example", Unknown, ""),
		mx("zone that fails", "x-refused.faulty", Unknown, ""),
	}
}

func certificateCases(now time.Time) []identityCase {
	leaf := func(after time.Duration) *x509.Certificate {
		return &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(after)}
	}
	up := func(host string, v CertificateView, err error) Presence {
		return Presence{Upstreams: []UpstreamIdentity{{Name: "u", Host: host, Port: 25,
			Probe: func(context.Context, []netip.Addr) (CertificateView, error) { return v, err }}}}
	}
	ours := func(c CertificateIdentity) Presence {
		c.Where = "listener mta"
		return Presence{Certificates: []CertificateIdentity{c}}
	}
	const day = 24 * time.Hour
	return []identityCase{
		{"upstream resolves", up("mail.pass.example", CertificateView{Leaf: leaf(30 * day)}, nil), "upstream", Pass, "", "192.0.2.1"},
		{"upstream does not exist", up("gone.example", CertificateView{}, nil), "upstream", Fail, "", "NXDOMAIN"},
		{"upstream's zone fails", up("x-servfail.faulty", CertificateView{}, nil), "upstream", Unknown, "", ""},
		{"upstream's certificate is good", up("192.0.2.1", CertificateView{Leaf: leaf(30 * day)}, nil), "certificate", Pass, "", ""},
		{"upstream's certificate ends soon", up("192.0.2.1", CertificateView{Leaf: leaf(13 * day)}, nil), "certificate", Warn, "", "in 13 days"},
		{"upstream's certificate has ended", up("192.0.2.1", CertificateView{Leaf: leaf(-time.Minute)}, nil), "certificate", Fail, "", "expired"},
		{"upstream's certificate is not accepted", up("192.0.2.1", CertificateView{Problem: "of another name"}, nil), "certificate", Fail, "", "of another name"},
		{"upstream without TLS", up("192.0.2.1", CertificateView{}, nil), "certificate", Warn, "", "no TLS"},
		{"upstream does not answer", up("192.0.2.1", CertificateView{}, errors.New("connection refused")), "certificate", Unknown, "", "refused"},
		{"ours is good", ours(CertificateIdentity{Leaf: leaf(30 * day)}), "certificate", Pass, "", ""},
		{"ours ends soon", ours(CertificateIdentity{Leaf: leaf(2 * day)}), "certificate", Warn, "", "in 2 days"},
		{"ours cannot be read", ours(CertificateIdentity{Err: errors.New("no such file")}), "certificate", Fail, "", "no such file"},
	}
}

// TestPreflightOnRealServers runs each check on knot behind unbound, with a
// faulty server for the rest, and expects exactly the finding of the table.
func TestPreflightOnRealServers(t *testing.T) {
	k := newTestKeys(t)
	server := dnstest.Knot(t, identityZones(k))
	bad := dnstest.StartFaulty(t)
	stubs := map[string]string{"faulty": bad.Address, "100.51.198.in-addr.arpa": bad.Address}
	for zone := range identityZones(k) {
		stubs[zone] = server
	}
	resolver := dnstest.Unbound(t, stubs)
	now := time.Unix(1_700_000_000, 0)
	groups := map[string][]identityCase{
		"address": addressCases(), "spf": spfCases(), "dkim": dkimCases(k), "dmarc": dmarcCases(k), "mx": mxCases(), "certificate": certificateCases(now),
	}
	total := 0
	for group, cases := range groups {
		total += len(cases)
		t.Run(group, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, resolver, now)
				})
			}
		})
	}
	if total < 60 {
		t.Errorf("%d cases, want at least 60", total)
	}
}

// TestPreflightIsQuick: 20 domains and 8 addresses, some of whose zones fail or
// are silent, within 10 s.
func TestPreflightIsQuick(t *testing.T) {
	k := newTestKeys(t)
	server := dnstest.Knot(t, identityZones(k))
	bad := dnstest.StartFaulty(t)
	stubs := map[string]string{"faulty": bad.Address}
	for zone := range identityZones(k) {
		stubs[zone] = server
	}
	resolver := dnstest.Unbound(t, stubs)
	id := oneStream("mail.pass.example")
	for i := range 8 {
		id.Streams[0].Addresses = append(id.Streams[0].Addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}))
	}
	domains := []string{"x-silent.faulty", "a.x-silent.faulty", "x-servfail.faulty", "spf-pass.example", "mx-good.example", "signed.example"}
	for i := range 20 {
		name := fmt.Sprintf("d%d.signed.example", i)
		if i < len(domains) {
			name = domains[i]
		}
		id.Domains = append(id.Domains, DomainIdentity{Name: name, Streams: []string{"main"}, SignedBy: "signed.example"})
	}
	key := k.rsa
	key.Domain, key.Selector = "signed.example", "s1"
	id.Keys = []KeyIdentity{key}
	r := newTestResolver(t, 4*time.Second, resolver)
	began := time.Now()
	report := Check(t.Context(), r, id, time.Now)
	// Alone it takes two or three seconds; one after another it would be minutes.
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	s := Summarize(report.Findings)
	if s.Unknown == 0 || s.Pass == 0 || len(report.Findings) < 8+8*20+20+20 {
		t.Errorf("%d findings: %v", len(report.Findings), s)
	}
	if report.Keys["signed.example/s1"] != KeyPublished {
		t.Errorf("key state %v", report.Keys)
	}
	for _, f := range report.Findings {
		if strings.Contains(f.Subject, "faulty") && f.Status != Unknown {
			t.Errorf("a zone that does not answer gave %s: %+v", f.Status, f)
		}
	}
}

func (c *identityCase) run(t *testing.T, server string, now time.Time) {
	r := newTestResolver(t, c.patience(), server)
	report := Check(t.Context(), r, c.id, func() time.Time { return now })
	for _, f := range report.Findings {
		if f.Check != c.check || f.Check == "spf" && f.Stream != "" {
			continue
		}
		all := fmt.Sprintf("%s | %s | %s | %s", f.Seen, f.Change, f.Record, f.Mechanism)
		if f.Status != c.want || c.result != "" && f.Result != c.result || !strings.Contains(all, c.say) {
			t.Errorf("%s %q: %s; want %s %q with %q", f.Status, f.Result, all, c.want, c.result, c.say)
		}
		if f.Asked == "" || f.Seen == "" || f.Status != Pass && f.Change == "" {
			t.Errorf("the finding does not say what was asked, seen and is to change: %+v", f)
		}
		return
	}
	t.Errorf("no finding of the check %s in %v", c.check, report.Findings)
}

// patience is long where an answer must come, and short where none can.
func (c *identityCase) patience() time.Duration {
	if c.want == Unknown {
		return 2 * time.Second
	}
	return 20 * time.Second
}
