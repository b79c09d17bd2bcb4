package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/dkimsign"
	"postern/outlier"
)

func noAddresses() ([]net.Addr, error) {
	return []net.Addr{&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}}, nil
}

// certificate writes base.crt and base.key for a host.
func certificate(t *testing.T, base, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, base+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func write(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dkimKeys writes the key files that the examples name.
func dkimKeys(t *testing.T, folder string) {
	t.Helper()
	for _, name := range []string{"s2026.pem", "e2026.pem"} {
		key, err := dkimsign.NewKey(dkimsign.Ed25519, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := dkimsign.WriteKey(filepath.Join(folder, name), key); err != nil {
			t.Fatal(err)
		}
	}
}

const good = `hostname = "relay.example.org"
[listener.a]
address = "127.0.0.1:2525"
[client.one]
networks = ["10.1.2.0/24"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "out"
[upstream.out]
hosts = ["smtp.example.net:587"]
[dkim."example.org"]
generate = true
keys = [{ selector = "s1", file = "s1.pem" }]
[limit.client]
per = "client"
messages = "500/1h"
`

// loadText loads text from a file in a folder with relay.crt and relay.key.
func loadText(t *testing.T, text string) (f *File, problems, warnings string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "config") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	certificate(t, filepath.Join(folder, "relay"), "relay.example.org")
	certificate(t, filepath.Join(folder, "other"), "other.example.org")
	write(t, filepath.Join(folder, "users.toml"), []byte("[user.extra]\npassword = \"x\"\n"))
	path := filepath.Join(folder, "relay.toml")
	write(t, path, []byte(text))
	l := loader{getenv: func(string) string { return "" }, addresses: noAddresses}
	f, ws, err := l.load(path)
	clean := func(s string) string { return strings.ReplaceAll(s, folder+"/", "") }
	if err != nil {
		problems = clean(err.Error())
	}
	return f, problems, clean(Problems(ws).Error())
}

func TestLoadTakesAGoodFile(t *testing.T) {
	f, problems, warnings := loadText(t, good)
	if problems != "" || warnings != "" {
		t.Fatalf("problems %s\nwarnings %s", problems, warnings)
	}
	if f.Control.Socket != filepath.Join(f.StateDir, "control.sock") || filepath.Base(f.StateDir) != "state" || f.Redis.Enabled() {
		t.Errorf("got %+v", f)
	}
}

func TestLoadHoldsTablesAgainstOneAnother(t *testing.T) {
	const hash = `"$2b$04$kZTjLiLGBhmP1wzTLDOnE.7jc.9fhrGShEYYJf7OO6Fvn1D1ANAjy"`
	for _, tt := range []struct{ name, old, new, problem, warning string }{
		{"a wait for the final reply that makes duplicates", `[dkim."example.org"]`, "final_timeout = \"5m\"\n[dkim.\"example.org\"]", ``, `sent twice`},
		{"a wait for the final reply that something else ends", `[dkim."example.org"]`, "final_timeout = \"11m\"\n[dkim.\"example.org\"]", ``, `[timeouts] forward = 11m0s`},
		{"a key of an upstream that there is not", `[dkim."example.org"]`, "sign_keys = [\"s1\", \"s2\"]\n[dkim.\"example.org\"]", `upstream.out.sign_keys.1: no table [dkim.DOMAIN] has a key "s2"; there are example.org/s1`, ``},
		{"a key of a stream that there is not", `upstream = "out"`, "upstream = \"out\"\nsign_keys = \"example.com/s1\"", `stream.main.sign_keys.0: no table [dkim.DOMAIN] has a key "example.com/s1"`, ``},
		{"keys of an upstream without one of a domain that requires it", `[dkim."example.org"]`, "sign_keys = [\"k1\"]\n[dkim.\"example.com\"]\ngenerate = true\nkeys = [{ selector = \"k1\", file = \"k1.pem\" }]\n[dkim.\"example.org\"]", `upstream.out.sign_keys: names no key of example.org, which [client.one] sends for and which requires its signature`, ``},
		{"keys of a stream without one of a domain that requires it", `upstream = "out"`, "upstream = \"out\"\nsign_keys = \"k1\"\n[dkim.\"example.com\"]\ngenerate = true\nkeys = [{ selector = \"k1\", file = \"k1.pem\" }]", `stream.main.sign_keys: names no key of example.org`, ``},
		{"no key for a domain that requires it elsewhere", `[dkim."example.org"]`, "sign_keys = \"none\"\n[dkim.\"example.org\"]", ``, ``},
		{"a signature without From", `[dkim."example.org"]`, "unsigned_fields = [\"From\"]\n[dkim.\"example.org\"]", `upstream.out.unsigned_fields.0: a signature without From is none`, ``},
		{"a field that is never signed", `[dkim."example.org"]`, "unsigned_fields = [\"Date\", \"Return-Path\"]\n[dkim.\"example.org\"]", ``, `upstream.out.unsigned_fields.1: "Return-Path" is never signed anyway`},
		{"an unsigned List-Unsubscribe", `[dkim."example.org"]`, "unsigned_fields = [\"List-Unsubscribe\"]\n[dkim.\"example.org\"]", ``, `RFC 8058 s. 4`},
		{"a word for signatures of clients that is none", `[dkim."example.org"]`, "client_signatures = \"drop\"\n[dkim.\"example.org\"]", `upstream.out.client_signatures: "drop" is none of "keep", "remove", "refuse"`, ``},
		{"a provider without a login", `hosts = ["smtp.example.net:587"]`, `profile = "microsoft365"`, ``, `upstream.out.profile: this provider takes mail only of customers who log in`},
		{"a provider with a login", `hosts = ["smtp.example.net:587"]`, "profile = \"microsoft365\"\nusername = \"a@example.org\"\npassword = \"x\"", ``, ``},
		{"two signatures where the provider takes one", `hosts = ["smtp.example.net:587"]`, "hosts = [\"email-smtp.eu-west-1.amazonaws.com:587\"]\n[dkim.\"example.com\"]\ngenerate = true\nkeys = [{ selector = \"k1\", file = \"k1.pem\" }, { selector = \"k2\", file = \"k2.pem\" }]", ``, `stream.main: its mail from example.com would have 2 signatures, of which Amazon SES takes one, and wait; set sign_keys = "first"`},
		{"one signature where the provider takes one", `hosts = ["smtp.example.net:587"]`, "sign_keys = \"first\"\nhosts = [\"email-smtp.eu-west-1.amazonaws.com:587\"]\n[dkim.\"example.com\"]\ngenerate = true\nkeys = [{ selector = \"k1\", file = \"k1.pem\" }, { selector = \"k2\", file = \"k2.pem\" }]", ``, ``},
		{"an unknown profile", `hosts = ["smtp.example.net:587"]`, `profile = "sendmail"`, `relay.toml:11:11: upstream.out.profile: "sendmail" is not a provider that is known; write one of google-workspace, mailgun, microsoft365, postmark, sendgrid, ses, stalwart`, ``},
		{"a profile whose hosts depend on the region", `hosts = ["smtp.example.net:587"]`, `profile = "ses"`, `upstream.out.profile: ses has no hosts that are the same for all: each region has its own`, ``},
		{"a profile that needs a password", `hosts = ["smtp.example.net:587"]`, `profile = "sendgrid"`, `upstream.out.password: missing or empty; set password_file`, ``},
		{"a profile with its hosts", `hosts = ["smtp.example.net:587"]`, `profile = "google-workspace"`, ``, ``},
		{"a profile with other hosts", `hosts = ["smtp.example.net:587"]`, "profile = \"google-workspace\"\nhosts = [\"smtp.example.net:587\"]", ``, ``},
		{"a profile with hosts of another", `hosts = ["smtp.example.net:587"]`, "profile = \"google-workspace\"\nhosts = [\"smtp-relay.gmail.com:587\", \"smtp.mailgun.org:587\"]", `upstream.out.hosts.1: is a host of mailgun beside google-workspace`, ``},
		{"hosts of two providers", `hosts = ["smtp.example.net:587"]`, `hosts = ["email-smtp.eu-west-1.amazonaws.com:587", "smtp.example.net:587", "smtp.mailgun.org:587"]`, `upstream.out.hosts.2: is a host of mailgun beside ses`, ``},
		{"a profile that is no text", `hosts = ["smtp.example.net:587"]`, `profile = 1`, `upstream.out.profile: is a whole number, not text`, ``},
		{"too few recipients of a message", `hosts = ["smtp.example.net:587"]`, "hosts = [\"smtp.example.net:587\"]\nmax_recipients = -1", `upstream.out.max_recipients: -1 is negative`, ``},
		{"old TLS towards an upstream", `[dkim."example.org"]`, "tls_min = \"1.0\"\n[dkim.\"example.org\"]", ``, `can be broken`},
		{"a password for whoever shows a certificate", `[dkim."example.org"]`, "tls = \"required\"\nusername = \"u\"\npassword = \"p\"\n[dkim.\"example.org\"]", ``, `"required" looks at no certificate`},
		{"TLS without a certificate and without a password", `[dkim."example.org"]`, "tls = \"required\"\n[dkim.\"example.org\"]", ``, ``},
		{"a password for this machine", `hosts = ["smtp.example.net:587"]`, "hosts = [\"127.0.0.1:587\", \"[::1]\"]\ntls = \"required\"\nusername = \"u\"\npassword = \"p\"", ``, ``},
		{"old TLS towards an upstream with a password", `[dkim."example.org"]`, "tls_min = \"1.1\"\nusername = \"u\"\npassword = \"p\"\n[dkim.\"example.org\"]", `would send the password under encryption that can be broken`, ``},
		{"old TLS without TLS", `[dkim."example.org"]`, "tls_min = \"1.3\"\ntls = \"off\"\n[dkim.\"example.org\"]", `does nothing with tls = "off"`, ``},
		{"a wait for the greeting that something else ends", `[dkim."example.org"]`, "greeting_timeout = \"5m\"\n[dkim.\"example.org\"]", ``, `[timeouts] upstream = 2m0s`},
		{"a missing hostname", `hostname = "relay.example.org"`, ``, `relay.toml:1:1: hostname: missing; write the full name of this host`, ``},
		{"a short hostname", `"relay.example.org"`, `"relay"`, `relay.toml:1:1: hostname: "relay" is not a full host name`, ``},
		{"a bad internal domain", `[listener.a]`, "internal_domains = [\"x y\"]\n[listener.a]", `relay.toml:2:21: internal_domains.0: "x y" is not a domain`, ``},
		{"a bad postmaster", `[listener.a]`, "postmaster = \"me\"\n[listener.a]", `relay.toml:2:1: postmaster: "me" is not an address`, ``},
		{"an unknown stream", `stream = "main"`, `stream = "mian"`, `relay.toml:7:1: client.one.stream: there is no [stream.mian]; did you mean "main"`, ``},
		{"an unknown upstream", `upstream = "out"`, `upstream = "provider"`, `relay.toml:9:1: stream.main.upstream: there is no [upstream.provider]; write that table or one of out`, ``},
		{"a stream without an upstream", `upstream = "out"`, ``, `relay.toml:8:9: stream.main.upstream: missing; name the table [upstream.NAME]`, ``},
		{"an unknown listener", `senders =`, "listeners = [\"b\"]\nsenders =", `relay.toml:6:14: client.one.listeners.0: there is no [listener.b]`, ``},
		{"an unknown user", `senders =`, "users = [\"shop\"]\nsenders =", `relay.toml:6:10: client.one.users.0: there is no [user.shop], and no other`, ``},
		{"a limit on an unknown client", `per = "client"`, "per = \"client\"\nclients = [\"two\"]", `limit.client.clients.0: there is no [client.two]`, ``},
		{"a limit on an unknown stream", `per = "client"`, "per = \"client\"\nstreams = [\"two\"]", `limit.client.streams.0: there is no [stream.two]`, ``},
		{"a reserve for an unknown stream", `per = "client"`, "per = \"client\"\nreserve = { two = \"10%\" }", `limit.client.reserve.two: there is no [stream.two]`, ``},
		{"an outlier rule on an unknown client", `[limit.client]`, "[outlier]\nexempt_clients = [\"two\"]\n[limit.client]", `outlier.exempt_clients.0: there is no [client.two]`, ``},
		{"two ways to say how sensitive the watch is", `[limit.client]`, "[journal]\nfile = \"j\"\n[outlier]\nfalse_alarms = \"20/year\"\nsensitivity = 1.0\n[limit.client]", `outlier.sensitivity: stands beside false_alarms`, ``},
		{"accepted alarms without a journal", `[limit.client]`, "[outlier]\nfalse_alarms = \"20/year\"\n[limit.client]", `outlier.false_alarms: needs a journal to learn from`, ``},
		{"accepted alarms with several journals", `[limit.client]`, "[journal]\nfile = \"j\"\n[redis]\naddresses = [\"127.0.0.1:6379\"]\n[outlier]\nfalse_alarms = \"20/year\"\n[limit.client]", `outlier.false_alarms: is for one relay`, ``},
		{"accepted alarms a day", `[limit.client]`, "[outlier]\nfalse_alarms = \"20/day\"\n[limit.client]", `"20/day" is not a number of alarms`, ``},
		{"an exempt sender that is none", `[limit.client]`, "[outlier]\nexempt_senders = [\"a@x.example\", \"*@x.example@\"]\n[limit.client]", `outlier.exempt_senders.1: "*@x.example@" is not a pattern`, ``},
		{"an expected sender that is a domain", `[limit.client]`, "[outlier.sender.\"@x.example\"]\n[limit.client]", `outlier.sender."@x.example": is not a sender`, ``},
		{"one expected sender in two spellings", `[limit.client]`, "[outlier.sender.\"a@bücher.example\"]\n[outlier.sender.\"A@xn--bcher-kva.example\"]\n[limit.client]", `outlier.sender."a@bücher.example": is the same sender as [outlier.sender."A@xn--bcher-kva.example"]; keep one`, ``},
		{"one user in two spellings", `[client.one]`, "[user.\"Shop@Example.ORG\"]\npassword = " + hash + "\n[user.\"shop@example.org\"]\npassword = " + hash + "\n[client.one]", `relay.toml:4:7: user."Shop@Example.ORG": is the same user as [user."shop@example.org"]; keep one`, ``},
		{"the other of two spellings", `[client.one]`, "[user.\"Shop@Example.ORG\"]\npassword = " + hash + "\n[user.\"shop@example.org\"]\npassword = " + hash + "\n[client.one]", `relay.toml:6:7: user."shop@example.org": is the same user as [user."Shop@Example.ORG"]; keep one`, ``},
		{"one sender in two overrides", `per = "client"`, "per = \"sender\"\noverrides.\"News@example.org\" = { messages = [\"5/1h\"] }\noverrides.\"news@EXAMPLE.org\" = { messages = [\"6/1h\"] }", `limit.client.overrides."News@example.org": names the same key as "news@EXAMPLE.org"; keep one`, ``},
		{"the other of two overrides", `per = "client"`, "per = \"sender\"\noverrides.\"News@example.org\" = { messages = [\"5/1h\"] }\noverrides.\"news@EXAMPLE.org\" = { messages = [\"6/1h\"] }", `limit.client.overrides."news@EXAMPLE.org": names the same key as "News@example.org"; keep one`, ``},
		{"fold_case, which is gone", `per = "client"`, "per = \"client\"\nfold_case = true", ``, `limit.client.fold_case: does nothing any more`},
		{"two listeners on one address", `[client.one]`, "[listener.b]\naddress = \"0.0.0.0:2525\"\n[client.one]", `relay.toml:5:1: listener.b.address: 0.0.0.0:2525 is taken by listener.a.address = "127.0.0.1:2525"; choose another`, ``},
		{"a listener on the address of admin", `[client.one]`, "[admin]\naddress = \"127.0.0.1:2525\"\n[client.one]", `admin.address: 127.0.0.1:2525 is taken by listener.a.address`, ``},
		{"admin for everybody", `[client.one]`, "[admin]\naddress = \"0.0.0.0:80\"\n[client.one]", ``, `admin.address: whoever reaches this address can read the metrics`},
		{"a certificate that is missing", `[client.one]`, "tls = \"optional\"\ncertificate = \"x.crt\"\nkey = \"relay.key\"\n[client.one]", `relay.toml:5:1: listener.a.certificate: x.crt: no such file or directory; name a file that the relay can read`, ``},
		{"a certificate with another's key", `[client.one]`, "tls = \"optional\"\ncertificate = \"relay.crt\"\nkey = \"other.key\"\n[client.one]", `listener.a.certificate: private key does not match public key`, ``},
		{"old TLS for devices", `[client.one]`, "tls = \"optional\"\ntls_min = \"1.0\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\n[client.one]", ``, `listener.a.tls_min: "1.0" lets in encryption that can be broken`},
		{"old TLS without TLS", `[client.one]`, "tls_min = \"1.0\"\n[client.one]", `relay.toml:4:1: listener.a.tls_min: does nothing with tls = "none"`, ``},
		{"old TLS where passwords come from everywhere", `[client.one]`, "[listener.b]\naddress = \"0.0.0.0:2526\"\ntls = \"optional\"\ntls_min = \"1.1\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\n[user.shop]\npassword = " + hash + "\n[client.two]\nusers = [\"shop\"]\nsenders = [\"@example.net\"]\nstream = \"main\"\n[client.one]",
			`listener.b.tls_min: [client.two] takes passwords on this listener from outside of private networks`, ``},
		{"old TLS where passwords come from a network beyond", `[client.one]`, "[listener.b]\naddress = \"0.0.0.0:2526\"\ntls = \"optional\"\ntls_min = \"1.1\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\n[user.shop]\npassword = " + hash + "\n[client.two]\nusers = [\"shop\"]\nnetworks = [\"10.0.0.0/8\", \"192.160.0.0/12\"]\nsenders = [\"@example.net\"]\nstream = \"main\"\n[client.one]",
			`listener.b.tls_min: [client.two] takes passwords on this listener from outside of private networks`, ``},
		{"old TLS where passwords come from within", `[client.one]`, "[listener.b]\naddress = \"0.0.0.0:2526\"\ntls = \"optional\"\ntls_min = \"1.1\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\n[user.shop]\npassword = " + hash + "\n[client.two]\nusers = [\"shop\"]\nnetworks = [\"10.0.0.0/8\", \"fd00::/8\"]\nsenders = [\"@example.net\"]\nstream = \"main\"\n[client.one]",
			``, `listener.b.tls_min: "1.1" lets in encryption that can be broken`},
		{"a certificate for another name", `[client.one]`, "tls = \"optional\"\ncertificate = \"other.crt\"\nkey = \"other.key\"\n[client.one]", ``, `listener.a.certificate: no certificate is for relay.example.org`},
		{"a certificate that fits", `[client.one]`, "tls = \"optional\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\nclient_ca = \"other.crt\"\n[client.one]", ``, ``},
		{"an authority that is a key", `[client.one]`, "tls = \"optional\"\ncertificate = \"relay.crt\"\nkey = \"relay.key\"\nclient_ca = \"other.key\"\n[client.one]", `listener.a.client_ca: other.key holds no certificate`, ``},
		{"a source address that is elsewhere", `upstream = "out"`, "upstream = \"out\"\nsource_ip = [\"192.0.2.25\"]", ``, `relay.toml:10:14: stream.main.source_ip.0: no interface of this machine has 192.0.2.25 now`},
		{"two source addresses of one family", `upstream = "out"`, "upstream = \"out\"\nsource_ip = [\"127.0.0.2\", \"127.0.0.3\"]", `stream.main.source_ip.1: is a second address of one family`, ``},
		{"a domain that nobody owns", `[dkim."example.org"]`, `[dkim."example.com"]`, ``, `dkim."example.com": no client owns a sender in this domain`},
		{"a sender domain that is not signed", `[dkim."example.org"]`, `[dkim."example.com"]`, ``, `relay.toml:6:12: client.one.senders.0: mail from example.org leaves unsigned`},
		{"a key that is missing", `generate = true`, ``, `dkim."example.org".keys.0: open s1.pem: no such file or directory; set generate = true, or make it by: relay dkim keygen`, ``},
		{"an upstream that nothing uses", `[dkim."example.org"]`, "[upstream.spare]\ncapture = \"x\"\n[dkim.\"example.org\"]", ``, `upstream.spare: no stream uses this upstream`},
		{"a user in two files", `[listener.a]`, "users_file = \"users.toml\"\n[user.extra]\npassword = " + hash + "\n[listener.a]", `users.toml:1:7: user.extra: stands in relay.toml, too; keep one`, ``},
		{"a bad user in the other file", `[listener.a]`, "users_file = \"users.toml\"\n[listener.a]", `users.toml:2:1: user.extra.password: `, ``},
		{"a users file that is missing", `[listener.a]`, "users_file = \"none.toml\"\n[listener.a]", `relay.toml:2:1: users_file: none.toml: no such file or directory`, ``},
		{"a user named as a submitter", `[listener.a]`, "[user.\"Submitter:one/anna\"]\npassword = " + hash + "\n[listener.a]", `user."Submitter:one/anna": begins with "submitter:"`, ``},
		{"a user named as a submitter, in wide letters", `[listener.a]`, "[user.\"ｓubmitter:one/anna\"]\npassword = " + hash + "\n[listener.a]", `user."ｓubmitter:one/anna": begins with "submitter:"`, ``},
		{"a user without client", `[listener.a]`, "[user.extra]\npassword = " + hash + "\n[listener.a]", ``, `user.extra: no client names this user`},
		{"a user where nothing is encrypted", `networks = ["10.1.2.0/24"]`, "users = [\"shop\"]\n[user.shop]\npassword = " + hash + "\n[client.x]\nnetworks = [\"10.1.2.0/24\"]", ``, ``},
		{"everybody as proxy", `[client.one]`, "proxy_protocol_from = [\"0.0.0.0/0\"]\n[client.one]", `listener.a.proxy_protocol_from: holds most of IPv4: everybody could claim to be any client`, ``},
		{"everybody as proxy, in halves", `[client.one]`, "proxy_protocol_from = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n[client.one]", `listener.a.proxy_protocol_from: holds most of IPv4`, ``},
		{"everybody as front end, in quarters", `[client.one]`, "xclient_from = [\"0.0.0.0/2\", \"64.0.0.0/2\", \"10.0.0.0/8\"]\n[client.one]", `listener.a.xclient_from: holds most of IPv4`, ``},
		{"everybody may guess", `[listener.a]`, "[auth]\ntrusted = [\"2000::/5\", \"2800::/5\"]\n[listener.a]", `auth.trusted: holds most of IPv6`, ``},
		{"a proxy's own network", `[client.one]`, "proxy_protocol_from = [\"10.0.0.0/8\"]\n[client.one]", ``, ``},
		{"senders in a top-level domain", `"@example.org"]`, `"@example.org", "@com"]`, ``, `client.one.senders.1: com is a public suffix; name your own domain`},
		{"senders below a public suffix", `"@example.org"]`, `"@example.org", "@*.co.uk"]`, ``, `client.one.senders.1: co.uk is a public suffix, below which anybody can register a domain`},
		{"senders below another's suffix", `"@example.org"]`, `"@example.org", "shop@github.io"]`, ``, `client.one.senders.1: github.io is a public suffix`},
		{"an open relay", `"10.1.2.0/24"`, `"0.0.0.0/0"`, `relay.toml:5:1: client.one.networks: hold most of IPv4, and nothing else is asked: that is an open relay`, ``},
		{"a wide network", `"10.1.2.0/24"`, `"10.0.0.0/8"`, ``, `relay.toml:5:13: client.one.networks.0: 10.0.0.0/8 is very wide`},
		{"a sender that is no pattern", `"@example.org"`, `"example.org"`, `relay.toml:6:12: client.one.senders.0: "example.org" `, ``},
		{"a client without conditions", `networks = ["10.1.2.0/24"]`, ``, `relay.toml:4:9: client.one: has no condition, so everybody would be this client`, ``},
		{"a limit of null senders that is none", `stream = "main"`, "stream = \"main\"\nnull_sender_limit = [\"many\"]", `client.one.null_sender_limit.0: limit "many" has no window`, ``},
		{"an upstream that is this relay", `"smtp.example.net:587"`, `"localhost:2525"`, `upstream.out.hosts.0: is our own [listener.a], so that mail would go round`, ``},
		{"a client that nothing limits", `per = "client"`, "per = \"client\"\nmode = \"shadow\"", ``, `relay.toml:4:9: client.one: no limit holds this client in full`},
		{"a client with a limit on some senders", `per = "client"`, "per = \"client\"\nsenders = [\"<>\"]", ``, `client.one: no limit holds this client in full`},
		{"a client with limits for users it has none of", `per = "client"`, "per = \"user\"\nabsent = \"skip\"", ``, `client.one: no limit holds this client in full`},
		{"a client with a limit for one place", `per = "client"`, "per = \"client\"\nnetworks = [\"10.1.2.0/25\"]", ``, `client.one: no limit holds this client in full`},
		{"a client with a limit for other places", `per = "client"`, "per = \"client\"\nnot_networks = [\"10.1.2.0/25\"]", ``, `client.one: no limit holds this client in full`},
		{"a limit on half of the world", `per = "client"`, "per = \"client\"\nnetworks = [\"0.0.0.0/1\"]", `limit.client.networks: holds most of IPv4: the limit would say nothing of where mail comes from`, ``},
		{"a limit that leaves half of the world out", `per = "client"`, "per = \"client\"\nnot_networks = [\"2000::/5\", \"2800::/5\"]", `limit.client.not_networks: holds most of IPv6: the limit would count next to nothing`, ``},
		{"a limit on an address without length", `per = "client"`, "per = \"client\"\nnetworks = [\"192.0.2.7\"]", `"192.0.2.7" has no prefix length`, ``},
		{"a client limited on what it chooses", `per = "client"`, `per = ["sender", "client"]`, ``, `client.one: its limits (client) count only on addresses that it chooses itself`},
		{"a limit that stops all", `"500/1h"`, `"0/1h"`, ``, `limit.client.messages: "0/1h" refuses all mail that it concerns`},
		{"internal without domains", `per = "client"`, "per = \"client\"\nrecipients_not_at = [\"internal\"]", ``, `limit.client.recipients_not_at.0: "internal" stands for internal_domains, which is empty`},
		{"a journal in no folder", `[client.one]`, "[journal]\nfile = \"none/j\"\n[client.one]", `relay.toml:5:1: journal.file: none: no such folder; make it, or choose another`, ``},
		{"a journal in the state folder, made at start", `[client.one]`, "[journal]\nfile = \"state/j\"\n[client.one]", ``, ``},
		{"a table name with spaces", `[upstream.out]`, "[upstream.\"a b\"]\nhosts = [\"a.example\"]\n[upstream.out]", `upstream."a b": a name has 1 to 64 letters`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("the replacement changed nothing")
			}
			_, problems, warnings := loadText(t, text)
			if !strings.Contains(problems, tt.problem) || !strings.Contains(warnings, tt.warning) {
				t.Errorf("problems %s\nwarnings %s", problems, warnings)
			}
			if tt.problem == "" && tt.name != "a user where nothing is encrypted" && problems != "" {
				t.Errorf("problems %s", problems)
			}
		})
	}
}

func TestALimitPerSenderHoldsAClientOfFixedSenders(t *testing.T) {
	for _, tt := range []struct {
		per, senders string
		warned       bool
	}{
		{`"sender"`, `"a@example.org"`, false},
		{`"sender"`, `"@example.org"`, true},
		{`"sender_domain"`, `"@example.org"`, false},
		{`"sender_domain"`, `"@*.example.org"`, true},
		{`["client", "recipient_domain"]`, `"a@example.org"`, true},
	} {
		text := strings.NewReplacer(`per = "client"`, "per = "+tt.per, `"@example.org"`, tt.senders).Replace(good)
		_, problems, warnings := loadText(t, text)
		if problems != "" || tt.warned != strings.Contains(warnings, "count only on addresses that it chooses itself") {
			t.Errorf("per %s, senders %s: problems %s, warnings %s", tt.per, tt.senders, problems, warnings)
		}
	}
}

func TestLoadRefusesWhatIsNoConfiguration(t *testing.T) {
	folder := t.TempDir()
	large := filepath.Join(folder, "large.toml")
	write(t, large, make([]byte, maxFile+1))
	latin := filepath.Join(folder, "latin.toml")
	write(t, latin, []byte("hostname = \"relay\"\n# caf\xe9\n"))
	for path, want := range map[string]string{
		filepath.Join(folder, "none.toml"): "none.toml: no such file or directory; name a configuration file that can be read",
		folder:                             ": is a directory; name a configuration file that can be read",
		large:                              "is larger than 64MiB",
		latin:                              "latin.toml:2:6: is not UTF-8; save the file as UTF-8 text",
	} {
		_, _, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestOutlierWithoutTable: a relay that nobody has told to watch holds no mail.
func TestOutlierWithoutTable(t *testing.T) {
	const rest = `
hostname = "relay.test"
[listener.a]
address = "127.0.0.1:0"
[client.a]
networks = ["127.0.0.1/32"]
senders = ["@example.org"]
stream = "main"
[stream.main]
upstream = "out"
[upstream.out]
capture = "outbox"
`
	for _, c := range []struct {
		name, text string
		want       outlier.Mode
	}{
		{"no table", "", outlier.Shadow},
		{"an empty table", "[outlier]\n", outlier.Enforce},
		{"a table beside it", "[outlier.sender.\"a@example.org\"]\nexpected = [\"5/1h\"]\n", outlier.Enforce},
		{"the mode", "[outlier]\nmode = \"shadow\"\n", outlier.Shadow},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "relay.toml")
			if err := os.WriteFile(path, []byte(rest+c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, _, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Outlier.Mode != c.want {
				t.Errorf("mode %q, want %q", f.Outlier.Mode, c.want)
			}
		})
	}
}

// TestLoadGivesUsersAndSendersTheirOneForm: what is made of a file goes by
// identities.
func TestLoadGivesUsersAndSendersTheirOneForm(t *testing.T) {
	const hash = `"$2b$04$kZTjLiLGBhmP1wzTLDOnE.7jc.9fhrGShEYYJf7OO6Fvn1D1ANAjy"`
	text := strings.Replace(good, "senders =", "users = [\"SHOP@example.org\"]\nsenders =", 1) + `
[user."Shop@Example.ORG"]
password = ` + hash + `
[outlier]
exempt_senders = ["Boss@bücher.example", "@Bücher.example"]
[outlier.sender."News@Bücher.example"]
expected = ["5/1h"]
`
	f, problems, _ := loadText(t, text)
	if problems != "" {
		t.Fatal(problems)
	}
	got := fmt.Sprint(sortedKeys(f.User), f.Client["one"].Users, f.Outlier.ExemptSenders, sortedKeys(f.Outlier.Sender))
	if want := "[shop@example.org] [shop@example.org] [boss@xn--bcher-kva.example @xn--bcher-kva.example] [news@xn--bcher-kva.example]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestProfileIsOverriddenByWhatIsWritten: a profile sets defaults, of the upstream
// and of its signatures; every key that is written holds in its place.
func TestProfileIsOverriddenByWhatIsWritten(t *testing.T) {
	const host = `hosts = ["email-smtp.eu-west-1.amazonaws.com:587"]`
	text := func(lines string) string {
		return strings.Replace(good, `hosts = ["smtp.example.net:587"]`, lines, 1)
	}
	f, problems, _ := loadText(t, text(host+"\nprofile = \"ses\""))
	if problems != "" {
		t.Fatal(problems)
	}
	u := f.Upstream["out"]
	if u.MaxRecipients != 50 || !u.SignKeys.Is("first") || !slices.Equal(u.UnsignedFields, []string{"Message-ID", "Date"}) || u.ClientSignatures != "remove" ||
		u.TLS != "verified" || u.MaxConnections != 50 {
		t.Errorf("by the profile: %+v", u)
	}
	if w := f.Way("main"); !w.SignKeys.Is("first") {
		t.Errorf("the stream's way: %+v", w)
	}
	f, problems, _ = loadText(t, text(host+`
sign_keys = "all"
unsigned_fields = []
client_signatures = "keep"
max_recipients = 10
max_connections = 4
tls = "required"
profile = "ses"`))
	if problems != "" {
		t.Fatal(problems)
	}
	u = f.Upstream["out"]
	if u.MaxRecipients != 10 || !u.SignKeys.Is("all") || len(u.UnsignedFields) != 0 || u.ClientSignatures != "keep" || u.TLS != "required" || u.MaxConnections != 4 {
		t.Errorf("as written: %+v", u)
	}
	f, problems, _ = loadText(t, text("profile = \"sendgrid\"\npassword = \"x\""))
	if problems != "" || !slices.Equal(f.Upstream["out"].Hosts, []string{"smtp.sendgrid.net:587"}) || f.Upstream["out"].Username != "apikey" {
		t.Errorf("%s, %+v", problems, f)
	}
}
