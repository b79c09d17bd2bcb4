package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/internal/text"
	"postern/mail"
	"postern/policy"
	"postern/relay/smtpd"
	"postern/upstream"
)

// maxSocket is the length up to which Linux takes the path of a Unix socket.
const maxSocket = 107

// crossCheck holds the tables of a file against one another.
type crossCheck struct {
	*File
	d         *decoder
	usersFile *decoder // nil: none

	names    map[string][]string // of each table, in order
	users    map[string]bool     // the one form of each user that has a table
	compared int                 // names that were compared with a wrong one
}

// maxCompared bounds the search for names that may have been meant.
const maxCompared = 200_000

func (x *crossCheck) all() {
	x.names = map[string][]string{
		"listener": sortedKeys(x.Listener), "client": sortedKeys(x.Client), "stream": sortedKeys(x.Stream),
		"upstream": sortedKeys(x.Upstream), "limit": sortedKeys(x.Limit), "user": sortedKeys(x.User),
		"scanner": sortedKeys(x.Scanner), "alert": sortedKeys(x.Alert), "provider": sortedKeys(x.Provider),
	}
	x.top()
	x.trusted("auth.trusted", x.Auth.Trusted, "every address there could guess passwords unhindered; name your own networks only")
	x.tableNames()
	x.identities()
	x.listeners()
	x.listenerAddresses()
	x.clients()
	x.streams()
	x.loops()
	x.upstreams()
	x.direct()
	x.providers()
	x.sourceFamilies()
	x.warmups()
	x.oauth()
	x.limits()
	x.scanners()
	x.alerts()
	x.attachments()
	x.links()
	x.dkim()
	x.ways()
	x.outliers()
	x.files()
	x.unused()
}

func (x *crossCheck) top() {
	switch {
	case x.Hostname == "":
		x.d.problem("hostname", `missing; write the full name of this host, as hostname = "relay.example.org"`)
	case !isHostName(x.Hostname):
		x.d.problem("hostname", fmt.Sprintf(`%q is not a full host name; write one such as "relay.example.org"`, x.Hostname))
	}
	for i, domain := range x.InternalDomains {
		if !isDomainPattern(domain) {
			x.d.problem(join("internal_domains", strconv.Itoa(i)), fmt.Sprintf(`%q is not a domain; write one such as "example.org" or "*.example.org"`, domain))
		}
	}
	if x.Postmaster != "" {
		if _, err := syntax.Mailbox(x.Postmaster, false); err != nil {
			x.d.problem("postmaster", fmt.Sprintf(`%q is not an address; write one such as "postmaster@example.org"`, x.Postmaster))
		}
	}
	if len(x.Listener) == 0 {
		x.d.problem("listener", `no table [listener.NAME]; write one with address = "127.0.0.1:2525"`)
	}
	if len(x.Control.Socket) > maxSocket {
		x.d.problem("control.socket", "the path is longer than 107 octets, which no system takes; write a shorter one")
	}
	x.admin()
}

// admin reads the secret of proxies, and warns of what others can read.
func (x *crossCheck) admin() {
	if a := &x.Admin; a.Address.IsValid() && !a.Address.Addr().IsLoopback() && !a.MetricsToken {
		x.d.warn("admin.address", "whoever reaches this address can read the metrics; use a loopback address, let a firewall guard it, or set metrics_token")
	}
	x.certificate("admin", x.Admin.Certificate, x.Admin.Key)
	if x.Admin.ClientCA != "" {
		x.authorities("admin.client_ca", x.Admin.ClientCA)
	}
	if x.Admin.ProxySecretFile != "" && x.d.beside != leftAlone {
		x.Admin.UseProxySecret(x.secretText(x.Admin.ProxySecretFile, "admin.proxy_secret_file"))
	}
}

// isFar reports whether a host, with or without its port, is not on this machine.
func isFar(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return !text.IsLoopback(name)
}

// upstreams warns of old TLS, of passwords that others can read, of waits for an upstream that something else ends
// before, and of one that makes duplicates.
func (x *crossCheck) upstreams() {
	for _, name := range x.names["upstream"] {
		u, path := x.Upstream[name], join("upstream", name)
		if u.Capture != "" {
			continue
		}
		if u.TLSMin.IsOld() {
			x.d.warn(join(path, "tls_min"), fmt.Sprintf("%q lets in encryption that can be broken; keep it for hosts that cannot be mended, in an upstream of their own", u.TLSMin))
		}
		if u.TLS == upstream.EncryptRequired && u.Username != "" && slices.ContainsFunc(u.Hosts, isFar) {
			x.d.warn(join(path, "tls"), `"required" looks at no certificate, so that whoever is on the way can read the password; set tls = "verified", with ca for an authority of your own`)
		}
		if x.Timeouts.Forward <= u.FinalTimeout {
			x.d.warn(join(path, "final_timeout"), fmt.Sprintf("[timeouts] forward = %v ends the wait for the final reply first; make it longer than this", x.Timeouts.Forward))
		}
		if u.FinalTimeout < finalWait {
			x.d.warn(join(path, "final_timeout"), "mail that the upstream takes later than this is sent twice; RFC 5321 s. 4.5.3.2.6 has 10m")
		}
		if x.Timeouts.Upstream <= u.ConnectTimeout+u.GreetingTimeout {
			x.d.warn(join(path, "greeting_timeout"), fmt.Sprintf("[timeouts] upstream = %v ends the wait for the greeting first; make it longer than this and connect_timeout", x.Timeouts.Upstream))
		}
	}
}

// finalWait is how long the reply to a message may take (RFC 5321 s. 4.5.3.2.6).
const finalWait = 10 * time.Minute

// tableNames checks the names that operators choose for tables.
func (x *crossCheck) tableNames() {
	for table, names := range x.names {
		for _, name := range names {
			if table != "user" && !isTableName(name) {
				x.d.problem(join(table, name), "a name has 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first; rename the table")
			}
		}
	}
	for _, name := range x.names["user"] {
		if !isUserName(name) {
			x.userProblem(name, "a user's name has 1 to 255 octets without spaces and controls; rename the table")
		}
	}
}

// userProblem reports on a user in the file that holds it.
func (x *crossCheck) userProblem(name, text string) {
	path := join("user", name)
	if _, ok := x.d.src.keys[path]; !ok && x.usersFile != nil {
		x.usersFile.problem(path, text)
		return
	}
	x.d.problem(path, text)
}

func (x *crossCheck) listeners() {
	for _, name := range sortedKeys(x.Listener) {
		l, path := x.Listener[name], join("listener", name)
		x.trusted(join(path, "proxy_protocol_from"), l.ProxyProtocolFrom, "everybody could claim to be any client; name the proxies only")
		x.trusted(join(path, "xclient_from"), l.XClientFrom, "everybody could claim to be any client; name the front ends only")
		x.listenerTLS(path, l)
		x.oldTLS(path, name, l)
	}
}

// trusted refuses a list of networks whose word is taken for granted when it
// holds half of the world, however that is cut into networks.
func (x *crossCheck) trusted(path string, networks []netip.Prefix, remedy string) {
	if where := policy.HalfOf(networks); where != "" {
		x.d.problem(path, fmt.Sprintf("holds most of %s: %s", where, remedy))
	}
}

// listenerTLS reads the certificates of a listener.
func (x *crossCheck) listenerTLS(path string, l smtpd.ListenerConfig) {
	if l.Certificate != "" && l.Key != "" {
		names := x.certificate(path, l.Certificate, l.Key)
		for i, p := range l.Certificates {
			names = append(names, x.certificate(join(join(path, "certificates"), strconv.Itoa(i)), p.Certificate, p.Key)...)
		}
		if len(names) > 0 && !covers(names, x.Hostname) {
			x.d.warn(join(path, "certificate"), fmt.Sprintf("no certificate is for %s; clients that verify it will refuse, unless they know this host by another name", x.Hostname))
		}
	}
	if l.ClientCA != "" {
		x.authorities(join(path, "client_ca"), l.ClientCA)
	}
}

// oldTLS warns of a listener that speaks what RFC 8996 has retired, and refuses
// one where passwords could come that way from outside: who reads along on the
// Internet can break it.
func (x *crossCheck) oldTLS(path, name string, l smtpd.ListenerConfig) {
	if !l.TLSMin.IsOld() {
		return
	}
	path = join(path, "tls_min")
	x.d.warn(path, fmt.Sprintf("%q lets in encryption that can be broken; keep it for devices that cannot be mended, on a listener of their own", l.TLSMin))
	if l.Address.Addr().IsLoopback() {
		return
	}
	for _, client := range sortedKeys(x.Client) {
		c := x.Client[client]
		here := len(c.Listeners) == 0 || slices.Contains(c.Listeners, name)
		if here && len(c.Users) > 0 && (len(c.Networks) == 0 || slices.ContainsFunc(c.Networks, isOutside)) {
			x.d.problem(path, fmt.Sprintf("[client.%s] takes passwords on this listener from outside of private networks; give its listeners or private networks", client))
		}
	}
}

// private are the networks that the Internet does not reach.
var private = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// isOutside reports whether a network is not wholly within a private one.
func isOutside(n netip.Prefix) bool {
	if addr := n.Addr(); addr.Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(addr.Unmap(), n.Bits()-96)
	}
	return !slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Bits() <= n.Bits() && p.Contains(n.Addr()) })
}

// listenerAddresses finds two that want one port.
func (x *crossCheck) listenerAddresses() {
	type place struct {
		path string
		addr netip.AddrPort
	}
	var taken []place
	for _, name := range sortedKeys(x.Listener) {
		taken = append(taken, place{join(join("listener", name), "address"), x.Listener[name].Address})
	}
	taken = append(taken, place{"admin.address", x.Admin.Address})
	for i, p := range taken {
		for _, q := range taken[:i] {
			if clash(p.addr, q.addr) {
				x.d.problem(p.path, fmt.Sprintf("%s is taken by %s = %q; choose another port or address", p.addr, q.path, q.addr))
			}
		}
	}
}

// clash reports whether a and b cannot both be listened on. [::] takes IPv4,
// too.
func clash(a, b netip.AddrPort) bool {
	if !a.IsValid() || !b.IsValid() || a.Port() != b.Port() || a.Port() == 0 {
		return false
	}
	all := func(x, y netip.Addr) bool { return x.IsUnspecified() && (x.Is6() || y.Is4()) }
	return a.Addr() == b.Addr() || all(a.Addr(), b.Addr()) || all(b.Addr(), a.Addr())
}

// loops finds upstreams that are this relay itself.
func (x *crossCheck) loops() {
	for _, name := range sortedKeys(x.Upstream) {
		for i, host := range x.Upstream[name].Hosts {
			if !strings.Contains(host, ":") {
				host += ":25"
			}
			to, err := netip.ParseAddrPort(strings.Replace(host, "localhost:", "127.0.0.1:", 1))
			if err != nil {
				continue
			}
			for _, l := range sortedKeys(x.Listener) {
				if at := x.Listener[l].Address; to == at || to.Addr().IsLoopback() && clash(to, at) {
					x.d.problem(join(join(join("upstream", name), "hosts"), strconv.Itoa(i)),
						fmt.Sprintf("is our own [%s], so that mail would go round in a loop; name the next host", join("listener", l)))
				}
			}
		}
	}
}

func (x *crossCheck) streams() {
	for _, name := range sortedKeys(x.Stream) {
		s, path := x.Stream[name], join("stream", name)
		if _, ok := x.Upstream[s.Upstream]; !ok && s.Upstream != "" {
			x.d.problem(join(path, "upstream"), x.noSuch("upstream", s.Upstream))
		}
	}
}

// sourceAddresses warns of addresses that this machine does not have.
func (x *crossCheck) sourceAddresses(local func() ([]net.Addr, error)) {
	addrs, err := local()
	if err != nil {
		return // a doubt less; the relay says it when it cannot bind
	}
	var own []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	for _, name := range sortedKeys(x.Stream) {
		for i, a := range x.Stream[name].SourceIP {
			if !slices.Contains(own, a) && !a.IsLoopback() {
				x.d.warn(join(join(join("stream", name), "source_ip"), strconv.Itoa(i)),
					fmt.Sprintf("no interface of this machine has %s now; mail of this stream waits (451) until one has", a))
			}
		}
	}
}

// listed checks that every name in a list has its table.
func (x *crossCheck) listed(path, table string, names []string) {
	for i, name := range names {
		if !x.exists(table, name) {
			x.d.problem(join(path, strconv.Itoa(i)), x.noSuch(table, name))
		}
	}
}

// exists reports whether there is a table of that name.
func (x *crossCheck) exists(table, name string) bool {
	_, ok := slices.BinarySearch(x.names[table], name)
	return ok
}

// noSuch says that no table has the name, and which was perhaps meant, as long
// as the search for that is not too long.
func (x *crossCheck) noSuch(table, name string) string {
	if known := x.names[table]; x.compared < maxCompared {
		x.compared += len(known)
		return noSuch(table, name, known)
	}
	return fmt.Sprintf("there is no [%s]; write that table or correct the name", join(table, name))
}

func (x *crossCheck) outliers() {
	x.falseAlarms()
	x.listed("outlier.exempt_clients", "client", x.Outlier.ExemptClients)
	for i, text := range x.Outlier.SuspendedMay {
		if p, err := mail.ParsePattern(text, ParseAddress); err != nil || p.String() == string(mail.NullSender) {
			x.d.problem(fmt.Sprintf("outlier.suspended_may.%d", i), fmt.Sprintf(`%q is not a pattern of recipients; write one such as "help@example.org" or "@example.org"`, text))
		}
	}
	for _, name := range sortedKeys(x.Client) {
		if problem := x.Outlier.KnownWatch(x.Client[name].Watch); problem != "" {
			x.d.problem(join(join("client", name), "watch"), problem)
		}
	}
	x.listed("outlier.shadow_clients", "client", x.Outlier.ShadowClients)
	x.listed("outlier.bulk_streams", "stream", x.Outlier.BulkStreams)
	for _, name := range sortedKeys(x.Outlier.Client) {
		if !x.exists("client", name) {
			x.d.problem(join("outlier.client", name), x.noSuch("client", name))
		}
	}
}

// falseAlarms checks that there is a journal that holds all mail: with Redis each node
// has one of its own.
func (x *crossCheck) falseAlarms() {
	switch {
	case x.Outlier.FalseAlarms == 0:
	case x.Journal.File == "":
		x.d.problem("outlier.false_alarms", "needs a journal to learn from; set journal.file, or sensitivity in its place")
	case x.Redis.Enabled():
		x.d.problem("outlier.false_alarms", "is for one relay, and with [redis] each node has a journal of its own; set sensitivity to what relay outliers tune says of the journals of all nodes")
	}
}

// unused warns of tables that nothing leads to.
func (x *crossCheck) unused() {
	users, streams, upstreams := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range x.Client {
		streams[c.Stream] = true
		for _, u := range c.Users {
			users[syntax.User(u)] = true
		}
	}
	for _, s := range x.Stream {
		upstreams[s.Upstream] = true
	}
	for _, u := range x.Upstream {
		if u.Warmup != nil {
			streams[u.Warmup.Overflow] = true
		}
	}
	for _, name := range x.names["stream"] {
		if !streams[name] {
			x.d.warn(join("stream", name), "no client uses this stream; remove it or name it in a client")
		}
	}
	for _, name := range x.names["upstream"] {
		if !upstreams[name] {
			x.d.warn(join("upstream", name), "no stream uses this upstream; remove it or name it in a stream")
		}
	}
	for _, name := range x.names["user"] {
		if !users[syntax.User(name)] && !users[policy.AnyUser] {
			d := x.d
			if _, ok := d.src.keys[join("user", name)]; !ok && x.usersFile != nil {
				d = x.usersFile
			}
			d.warn(join("user", name), "no client names this user, who can send nothing; name it in users of a client")
		}
	}
}
