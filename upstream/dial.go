package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/mail"
	"postern/upstream/wire"
)

// maxAddresses of one host that are tried.
const maxAddresses = 8

// Errors of TLS with a host, which a fault or Tried.Err may wrap.
var (
	ErrNoSTARTTLS = ErrNoTLS
	ErrHandshake  = errors.New("TLS handshake")
	// ErrInjected: somebody on the way has put plain text where TLS was to begin.
	ErrInjected = errors.New("plain text after the reply to STARTTLS")
)

var (
	errLogin  = fmt.Errorf("%w for good", ErrCredentials)
	errLocked = errors.New("not asked again")
)

// connect opens a connection to the first address of h that takes one.
func (u *Upstream) connect(ctx context.Context, h *host, rt route) (*conn, error) {
	if err := h.lockedOut(); err != nil {
		return nil, err
	}
	addrs, err := u.addresses(ctx, h)
	if err != nil {
		return nil, err
	}
	var errs faults
	for _, a := range addrs {
		source, ok := rt.source(a, u.turn.Add(1))
		if !ok {
			continue
		}
		c, err := u.open(ctx, h, rt, a, source, h.cfg.TLS == EncryptOff)
		if errors.Is(err, ErrHandshake) && h.cfg.TLS == EncryptOpportunistic {
			if c, err = u.open(ctx, h, rt, a, source, true); err == nil {
				c.fellBack = true
			}
		}
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", netip.AddrPortFrom(a, h.port), err))
		if errors.Is(err, errLogin) {
			h.lockOut(errs)
		}
		if ctx.Err() != nil || errors.Is(err, errLogin) {
			break
		}
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%w: none of the stream's is of the family of %s", ErrSource, addrs[0])
	}
	return nil, errs
}

// addresses resolves the host's name.
func (u *Upstream) addresses(ctx context.Context, h *host) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(h.name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.ConnectTimeout)
	defer cancel()
	addrs, err := u.opt.Lookup(ctx, h.name)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", h.name, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolve %s: no address", h.name)
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// open makes one connection ready for MAIL. With plain it stays in plain text.
func (u *Upstream) open(ctx context.Context, h *host, rt route, to, source netip.Addr, plain bool) (*conn, error) {
	tcp, cancel := context.WithTimeout(ctx, h.cfg.ConnectTimeout)
	defer cancel()
	raw, source, err := dial(tcp, source, netip.AddrPortFrom(to, h.port))
	if err != nil {
		return nil, err
	}
	c := newConn(h, rt, raw, source)
	c.watch(ctx)
	err = c.setUp(ctx, plain)
	c.unwatch()
	if err == nil && c.broken {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if cause := ctx.Err(); cause != nil {
			return nil, fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	return c, nil
}

// dial connects from exactly source, or from any address when that is zero, and
// returns which one it was.
func dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, netip.Addr, error) {
	d := net.Dialer{}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, err := d.DialContext(ctx, "tcp", to.String())
	var sys *os.SyscallError
	if errors.As(err, &sys) && sys.Syscall == "bind" {
		return nil, source, fmt.Errorf("%w: bind %s: %w", ErrSource, source, sys.Err)
	}
	if err != nil {
		return nil, source, err
	}
	local := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if source.IsValid() && local.WithZone("") != source.WithZone("") {
		c.Close()
		return nil, source, fmt.Errorf("%w: connected from %s instead of %s", ErrSource, local, source)
	}
	return c, local, nil
}

// setUp goes from the connection to the state in which MAIL may come.
func (c *conn) setUp(ctx context.Context, plain bool) error {
	if c.h.cfg.ImplicitTLS {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	r, err := c.reply(ctx, c.h.cfg.GreetingTimeout)
	if err := c.expect(atConnect, "greeting", 220, r, err); err != nil {
		return err
	}
	c.greeting = r.Text
	if err := c.hello(ctx, plain); err != nil {
		return err
	}
	if err := c.encrypt(ctx, plain); err != nil {
		return err
	}
	c.h.dsn.note(c.caps.DSN)
	return c.login(ctx)
}

// expect turns every reply to at but the one with the code into a fault.
func (c *conn) expect(at, what string, code int, r mail.Reply, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.Code != code {
		return c.refusedAt(at, what, r)
	}
	return nil
}

// hello sends EHLO; HELO is for hosts of which nothing more is asked.
func (c *conn) hello(ctx context.Context, plain bool) error {
	name := c.ehloName()
	if !clean(name) {
		return fmt.Errorf("EHLO name %q holds a control character or space", name)
	}
	r, err := c.do(ctx, c.h.cfg.CommandTimeout, "EHLO "+name)
	if err == nil && r.Permanent() && (plain || c.h.cfg.TLS == EncryptOpportunistic) {
		r, err = c.do(ctx, c.h.cfg.CommandTimeout, "HELO "+name)
		r.Text = ""
	}
	must := c.h.cfg.TLS == EncryptRequired || c.h.cfg.TLS == EncryptVerified
	if err == nil && must && c.tls == "" && (r.Code == 500 || r.Code == 502) {
		return c.refusedTLS("EHLO", r)
	}
	if err := c.expect(atEHLO, "EHLO", 250, r, err); err != nil {
		return err
	}
	c.caps = wire.ParseOffers(r.Text)
	c.caps.Pipelining = c.caps.Pipelining && c.h.cfg.Pipelining
	_, c.offer, _ = strings.Cut(r.Text, "\n")
	return nil
}

func (c *conn) ehloName() string {
	if c.route.ehlo == "" {
		return addressLiteral(c.source)
	}
	return c.route.ehlo
}

// addressLiteral is the address literal that stands in for a name (RFC 5321 s. 4.1.4).
func addressLiteral(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[" + a.String() + "]"
}

// clean reports whether s may stand in a command as one word.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// encrypt goes over to TLS as the policy says.
func (c *conn) encrypt(ctx context.Context, plain bool) error {
	if plain || c.tls != "" {
		return nil
	}
	must := c.h.cfg.TLS != EncryptOpportunistic
	if !c.caps.StartTLS {
		if must {
			return ErrNoSTARTTLS
		}
		return nil
	}
	r, err := c.do(ctx, c.h.cfg.CommandTimeout, "STARTTLS")
	switch refused := err == nil && r.Code != 220 && r.Code != 421; {
	case refused && must:
		return c.refusedTLS("STARTTLS", r)
	case refused:
		return nil
	}
	if err := c.expect(atEHLO, "STARTTLS", 220, r, err); err != nil {
		return err
	}
	// Whatever came with the 220 came from somebody on the way.
	if c.r.Buffered() > 0 {
		return fmt.Errorf("%w: %w", wire.ErrGarbage, ErrInjected)
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	return c.hello(ctx, false)
}

// refusedTLS is the error of a host that does not go over to TLS, which must be.
func (c *conn) refusedTLS(what string, r mail.Reply) error {
	e := c.refusedAt(atEHLO, what, r)
	e.err = ErrNoTLS
	return e
}

func (c *conn) handshake(ctx context.Context) error {
	var under net.Conn = c.raw
	if c.sock != nil {
		under = c.sock
	}
	tc := tls.Client(under, c.h.tls)
	if err := c.arm(ctx, c.h.cfg.TLSTimeout, reads|writes); err != nil {
		return err
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrHandshake, shortError{err})
	}
	c.net, c.verified = tc, c.h.cfg.TLS == EncryptVerified
	c.tls = strings.Replace(tls.VersionName(tc.ConnectionState().Version), " ", "v", 1)
	c.r.Reset(tc)
	return nil
}

// login authenticates. What its errors quote of the host's replies has no part
// of the password: it might repeat what it was sent.
func (c *conn) login(ctx context.Context) error {
	cfg := c.h.cfg
	if cfg.Username == "" {
		return nil
	}
	if c.tls == "" {
		return errors.New("AUTH: not without TLS")
	}
	if c.h.u.tokens != nil {
		return c.loginByToken(ctx)
	}
	var r mail.Reply
	var err error
	switch {
	case c.caps.Plain:
		r, err = c.do(ctx, cfg.AuthTimeout, "AUTH PLAIN "+b64("\x00"+cfg.Username+"\x00"+cfg.Password))
	case c.caps.Login:
		r, err = c.loginSteps(ctx, "AUTH LOGIN", b64(cfg.Username), b64(cfg.Password))
	default:
		return errors.New("AUTH: host offers neither PLAIN nor LOGIN")
	}
	return c.loggedIn(&r, err, cfg.Password, b64(cfg.Password), b64("\x00"+cfg.Username+"\x00"+cfg.Password))
}

// loggedIn is the error that the last reply to AUTH makes, nil for 235. None of
// the secrets that were sent stands in it.
func (c *conn) loggedIn(r *mail.Reply, err error, secrets ...string) error {
	clear(c.out[:cap(c.out)])
	switch {
	case errors.Is(err, wire.ErrGarbage):
		return fmt.Errorf("AUTH: %w", wire.ErrGarbage)
	case err != nil:
		return fmt.Errorf("AUTH: %w", err)
	case r.Permanent():
		return c.refusedLogin(r, errLogin, secrets)
	case r.Temporary() && r.Code != 421:
		return c.refusedLogin(r, ErrCredentials, secrets)
	case r.Code != 235:
		return fmt.Errorf("AUTH as %q: host replied %d %s", c.h.cfg.Username, r.Code, r.Status)
	}
	return nil
}

// refusedLogin is the error of a refusal of our credentials.
func (c *conn) refusedLogin(r *mail.Reply, kind error, secrets []string) error {
	reply := quoteLogin(r, secrets)
	said := &mail.Evidence{At: atAuth, About: mail.AboutUs, Class: mail.ClassCredentials, Reply: reply}
	return &hostError{err: kind, reply: mail.Reply{Code: r.Code, Said: said},
		text: fmt.Sprintf("AUTH as %q: %v: %s", c.h.cfg.Username, kind, strconv.QuoteToASCII(reply))}
}

// quoteLogin is a reply to AUTH on one line, without its text where that holds a
// part of the secret that AUTH has sent, as it stands or encoded.
func quoteLogin(r *mail.Reply, secrets []string) string {
	const maxQuoted = 300
	quoted := *r
	for _, secret := range secrets {
		if sharesText(r.Text, secret) {
			quoted.Text = "(text left out: it repeats what was sent)"
		}
	}
	text := quoted.String()
	return text[:min(len(text), maxQuoted)]
}

// sharesText reports whether a part of secret that is too long to be there by
// chance, or all of a short one, stands in text, whatever the case and the white
// space.
func sharesText(text, secret string) bool {
	const part = 6
	text = strings.ToLower(strings.Join(strings.Fields(text), ""))
	secret = strings.ToLower(strings.Join(strings.Fields(secret), ""))
	n := min(part, len(secret))
	for i := 0; n > 0 && i+n <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+n]) {
			return true
		}
	}
	return false
}

func (c *conn) loginSteps(ctx context.Context, steps ...string) (r mail.Reply, err error) {
	for i, s := range steps {
		r, err = c.do(ctx, c.h.cfg.AuthTimeout, s)
		if err != nil || i < len(steps)-1 && r.Code != 334 {
			return r, err
		}
	}
	return r, nil
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// lockedOut returns why the host refused our credentials not long ago: asking
// again with every mail would only get us suspended there.
func (h *host) lockedOut() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(h.lockedUntil) {
		return fmt.Errorf("%w before %s: %w", errLocked, h.lockedUntil.Format(time.TimeOnly), h.lockedBy)
	}
	return nil
}

func (h *host) lockOut(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lockedBy, h.lockedUntil = err, time.Now().Add(h.cfg.RetryAfter)
}
