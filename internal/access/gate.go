package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// PortRules are what [admin] says about who comes in on its port.
type PortRules struct {
	// Plain: tokens may come over plain HTTP from other machines.
	Plain bool
	// ProxyFrom are the networks of proxies that say who somebody is, ProxySecret is
	// what each of them has to send along, and Groups are the roles of those who are
	// in a group. Blank: nobody is believed.
	ProxyFrom   []netip.Prefix
	ProxySecret string
	Groups      map[string]Role
	// Names are the roles of client certificates, by a name (SAN) of theirs.
	Names map[string]Role
}

// Gate finds out who asks on the port of [admin].
type Gate struct {
	tokens  *Tokens
	rules   func() PortRules
	guesses *guesses
	log     *slog.Logger
}

// NewGate asks rules at each request.
func NewGate(tokens *Tokens, rules func() PortRules, now func() time.Time, log *slog.Logger) *Gate {
	return &Gate{tokens: tokens, rules: rules, guesses: newGuesses(now), log: log}
}

// Headers by which a proxy says who somebody is, and that it is the proxy.
const (
	ForwardedUser   = "X-Forwarded-User"
	ForwardedGroups = "X-Forwarded-Groups"
	ProxySecret     = "X-Postern-Proxy-Secret"
)

// Identify says who asks: by a proxy, a token or a client certificate, in this order.
func (g *Gate) Identify(r *http.Request) (Caller, *Refusal) {
	rules, remote := g.rules(), Remote(r)
	if len(r.Header.Values(ForwardedUser))+len(r.Header.Values(ForwardedGroups))+len(r.Header.Values(ProxySecret)) > 0 {
		return g.proxied(r, &rules, remote)
	}
	switch auth := r.Header.Values("Authorization"); {
	case len(auth) > 1:
		return Caller{}, refuse(http.StatusUnauthorized, "token", "send one Authorization field")
	case len(auth) == 1:
		token, ok := bearer(auth[0])
		if !ok {
			return Caller{}, g.wrong(remote, "the Authorization field does not begin with Bearer")
		}
		return g.Token(r, token)
	}
	if id, ok := certified(r, &rules); ok {
		id.Remote = addrText(remote)
		return id, nil
	}
	return Caller{}, Caller{}.Allow(View, false)
}

// Basic is Identify, and takes the token also as the password of Basic (RFC 7617),
// whatever the user.
func (g *Gate) Basic(r *http.Request) (Caller, *Refusal) {
	if _, token, ok := r.BasicAuth(); ok {
		return g.Token(r, token)
	}
	return g.Identify(r)
}

func bearer(field string) (token string, ok bool) {
	scheme, token, found := strings.Cut(field, " ")
	return strings.TrimLeft(token, " "), found && strings.EqualFold(scheme, "Bearer")
}

// Token is the identity of a token that a request brings in whatever way: in a header, or
// in the form of a page. It counts wrong ones, and takes none that has crossed the net in
// plain text.
func (g *Gate) Token(r *http.Request, token string) (Caller, *Refusal) {
	remote, rules := Remote(r), g.rules()
	if !rules.Plain && !isPrivate(r) {
		return Caller{}, refuse(http.StatusForbidden, "plain",
			"this token came over plain HTTP, where others could read it: revoke it, and use https ([admin] certificate), the loopback address, or plain = true")
	}
	id, err := g.tokens.caller(token)
	if err != nil {
		return Caller{}, g.wrong(remote, err.Error())
	}
	id.Door, id.Remote = Port, addrText(remote)
	return id, nil
}

// wrong counts a token that does not hold.
func (g *Gate) wrong(remote netip.Addr, detail string) *Refusal {
	return g.guessed(remote, "token", refuse(http.StatusUnauthorized, "token", detail))
}

// guessed counts a secret that is wrong, and refuses it with no, or for there were too many.
func (g *Gate) guessed(remote netip.Addr, what string, no *Refusal) *Refusal {
	wait, first := g.guesses.wrong(remote)
	if first {
		g.log.Warn("wrong "+what, "client_ip", addrText(remote), "wait", wait.Round(time.Second))
	}
	if wait > 0 {
		no = refuse(http.StatusTooManyRequests, "guesses", "too many wrong secrets from this address; wait, or send one that holds")
		no.Wait = time.Duration(math.Ceil(wait.Seconds())) * time.Second
	}
	return no
}

// proxied takes the word of a proxy, and refuses that of anybody else: to ignore it
// would let a mistake in front go unseen.
func (g *Gate) proxied(r *http.Request, rules *PortRules, remote netip.Addr) (Caller, *Refusal) {
	no := refuse(http.StatusForbidden, "proxy", "only a proxy that [admin] proxy_auth_from names, and that knows the secret, may say who somebody is; this request has "+ForwardedUser)
	from := func(p netip.Prefix) bool { return p.Contains(remote) }
	users, secrets := r.Header.Values(ForwardedUser), r.Header.Values(ProxySecret)
	switch {
	case !slices.ContainsFunc(rules.ProxyFrom, from) || rules.ProxySecret == "" || len(secrets) == 0:
		return Caller{}, no // nothing was guessed
	case len(secrets) > 1 || !same(secrets[0], rules.ProxySecret):
		return Caller{}, g.guessed(remote, "proxy secret", no)
	}
	if len(users) != 1 || !isUser(users[0]) {
		return Caller{}, refuse(http.StatusForbidden, "proxy", "the proxy names no user, or several")
	}
	id := Caller{Name: users[0], Door: Proxy, Remote: addrText(remote)}
	for _, field := range r.Header.Values(ForwardedGroups) {
		for group := range strings.SplitSeq(field, ",") {
			if role, ok := rules.Groups[strings.TrimSpace(group)]; ok && reach[role] > reach[id.Role] {
				id.Role = role
			}
		}
	}
	if id.Role == "" {
		return Caller{}, refuse(http.StatusForbidden, "role", "no group of this user has a role in [admin] group_roles")
	}
	return id, nil
}

// same compares in a time that says nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// isUser keeps what could not be told apart in a log out of it.
func isUser(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) && !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// certified takes a client certificate that the listener has verified.
func certified(r *http.Request, rules *PortRules) (Caller, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(rules.Names) == 0 {
		return Caller{}, false
	}
	leaf := r.TLS.VerifiedChains[0][0]
	for _, name := range append(slices.Clone(leaf.DNSNames), leaf.EmailAddresses...) {
		if role, ok := rules.Names[name]; ok && reach[role] > 0 {
			return Caller{Name: name, Role: role, Door: Cert}, true
		}
	}
	return Caller{}, false
}

// Remote is the address at the other end; the zero Addr where there is none.
func Remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// isPrivate reports whether nobody on a net can have read a request: it came by TLS, over
// a loopback address, or over a Unix socket.
func isPrivate(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	if _, ok := local.(*net.UnixAddr); ok {
		return true
	}
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
