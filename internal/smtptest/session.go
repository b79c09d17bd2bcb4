package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// errDrop ends a session.
var errDrop = errors.New("drop the connection")

type session struct {
	s    *Server
	n    int
	raw  net.Conn
	conn net.Conn // raw, or TLS on it
	r    *bufio.Reader
	w    *bufio.Writer
	tls  *tls.ConnectionState

	ehlo  string
	user  string
	from  *Path
	to    []Path
	body  *Message // BDAT in progress
	count int      // messages
}

func newSession(s *Server, c net.Conn, n int) *session {
	return &session{s: s, n: n, raw: c, conn: c, r: bufio.NewReaderSize(c, 16<<10), w: bufio.NewWriterSize(c, 1<<10)}
}

func (c *session) serve() {
	defer func() { c.conn.Close() }()
	if c.s.opt.ImplicitTLS {
		if c.handshake() != nil {
			return
		}
	}
	if c.reply(Greeting, "", "220 "+c.s.opt.Name+" ESMTP") != nil {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		if c.do(line) != nil {
			c.w.Flush()
			return
		}
	}
}

// line reads one command; pending replies leave when no further one has come.
func (c *session) line() (string, error) {
	if c.r.Buffered() == 0 {
		if err := c.w.Flush(); err != nil {
			return "", err
		}
	}
	c.conn.SetReadDeadline(time.Now().Add(c.s.opt.Idle))
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (c *session) do(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if verb == "AUTH" {
		mech, _, _ := strings.Cut(arg, " ")
		c.s.command(c.n, "AUTH "+mech)
	} else {
		c.s.command(c.n, line)
	}
	switch verb {
	case "EHLO", "HELO":
		return c.hello(verb, arg)
	case "STARTTLS":
		return c.startTLS()
	case "AUTH":
		return c.auth(arg)
	case "MAIL":
		return c.mail(arg)
	case "RCPT":
		return c.rcpt(arg)
	case "DATA":
		return c.data()
	case "BDAT":
		return c.bdat(arg)
	case "RSET":
		c.reset()
		return c.reply(Reset, "", "250 2.0.0 flushed")
	case "NOOP":
		return c.reply(Noop, "", "250 2.0.0 nothing done")
	case "QUIT":
		c.reply(Quit, "", "221 2.0.0 bye")
		return errDrop
	}
	return c.send("500 5.5.1 what?")
}

func (c *session) reset() { c.from, c.to, c.body = nil, nil, nil }

// offered are the keyword lines in force now.
func (c *session) offered() []string {
	if c.tls != nil {
		return c.s.opt.TLSOffer
	}
	return c.s.opt.Offer
}

func (c *session) offers(keyword string) bool {
	_, ok := offers(c.offered(), keyword)
	return ok
}

func (c *session) hello(verb, arg string) error {
	c.reset()
	c.ehlo = arg
	if verb == "HELO" {
		return c.reply(Hello, "", "250 "+c.s.opt.Name)
	}
	lines := append([]string{c.s.opt.Name + " greets " + arg}, c.offered()...)
	return c.reply(Hello, "", multi("250", lines))
}

func multi(code string, lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		if i < len(lines)-1 {
			b.WriteString(code + "-" + l + "\n")
		} else {
			b.WriteString(code + " " + l)
		}
	}
	return b.String()
}

func (c *session) startTLS() error {
	if !c.offers("STARTTLS") {
		return c.send("502 5.5.1 no TLS here")
	}
	ok, err := c.answer(StartTLS, "", "220 2.0.0 go ahead")
	if err != nil || !ok {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	return c.handshake()
}

// handshake goes on under TLS; what the client had sent before it is dropped.
func (c *session) handshake() error {
	f := c.s.fault(c.n, Handshake, "")
	c.pause(f)
	if f.Raw != "" {
		c.conn.Write([]byte(f.Raw))
	}
	if f.Drop != DropNever {
		return c.drop(f)
	}
	tc := tls.Server(c.raw, c.s.tls)
	tc.SetDeadline(time.Now().Add(c.s.opt.Idle))
	if err := tc.Handshake(); err != nil {
		return err
	}
	tc.SetDeadline(time.Time{})
	state := tc.ConnectionState()
	c.conn, c.tls, c.ehlo, c.user = tc, &state, "", ""
	c.reset()
	c.r.Reset(tc)
	c.w.Reset(tc)
	return nil
}

func (c *session) auth(arg string) error {
	mechs, ok := offers(c.offered(), "AUTH")
	mech, initial, _ := strings.Cut(arg, " ")
	mech = strings.ToUpper(mech)
	if !ok || !strings.Contains(" "+mechs+" ", " "+mech+" ") {
		return c.send("504 5.5.4 no such mechanism")
	}
	var user, password string
	var err error
	switch mech {
	case "PLAIN":
		user, password, err = c.plain(initial)
	case "LOGIN":
		user, password, err = c.login(initial)
	case "XOAUTH2", "OAUTHBEARER":
		return c.bearer(mech, initial)
	default:
		return c.send("504 5.5.4 not known")
	}
	if err != nil {
		return err
	}
	if want, ok := c.s.opt.Users[user]; !ok || want != password {
		return c.reply(Auth, "", "535 5.7.8 wrong credentials")
	}
	ok, err = c.answer(Auth, "", "235 2.7.0 welcome")
	if ok {
		c.user = user
	}
	return err
}

// bearer is AUTH by an access token. The client answers the reason of a refusal
// before it hears the reply (RFC 7628 s. 3.2.3).
func (c *session) bearer(mech, initial string) error {
	b, _ := base64.StdEncoding.DecodeString(initial)
	part := strings.Split(string(b), "\x01")
	user, _, _ := strings.Cut(part[0], ",\x00")
	wantAnswer := ""
	if mech == "OAUTHBEARER" {
		user = strings.TrimSuffix(strings.TrimPrefix(user, "n,a="), ",")
		wantAnswer = "AQ=="
	}
	user = strings.TrimPrefix(user, "user=")
	token := ""
	for _, p := range part {
		if t, ok := strings.CutPrefix(p, "auth=Bearer "); ok {
			token = t
		}
	}
	if c.s.opt.Token == nil || !c.s.opt.Token(user, token) {
		answer, err := c.ask(base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token"}`)))
		if err != nil {
			return err
		}
		if answer != wantAnswer {
			return c.send("501 5.5.2 that is no answer")
		}
		return c.reply(Auth, "", "535 5.7.3 token "+token+" is not valid")
	}
	ok, err := c.answer(Auth, "", "235 2.7.0 welcome")
	if ok {
		c.user = user
	}
	return err
}

func (c *session) plain(initial string) (user, password string, err error) {
	if initial == "" {
		if initial, err = c.ask(""); err != nil {
			return "", "", err
		}
	}
	b, _ := base64.StdEncoding.DecodeString(initial)
	part := bytes.Split(b, []byte{0})
	if len(part) != 3 {
		return "", "", nil
	}
	return string(part[1]), string(part[2]), nil
}

func (c *session) login(initial string) (user, password string, err error) {
	if initial == "" {
		if initial, err = c.ask("VXNlcm5hbWU6"); err != nil {
			return "", "", err
		}
	}
	second, err := c.ask("UGFzc3dvcmQ6")
	if err != nil {
		return "", "", err
	}
	u, _ := base64.StdEncoding.DecodeString(initial)
	p, _ := base64.StdEncoding.DecodeString(second)
	return string(u), string(p), nil
}

func (c *session) ask(challenge string) (string, error) {
	if ok, err := c.answer(Auth, "", "334 "+challenge); err != nil || !ok {
		return "", errDrop
	}
	return c.line()
}

func (c *session) mail(arg string) error {
	p, ok := path(arg, "FROM:")
	switch {
	case !ok:
		return c.send("501 5.5.4 syntax: MAIL FROM:<address>")
	case c.from != nil:
		return c.send("503 5.5.1 nested MAIL")
	case c.ehlo == "":
		return c.send("503 5.5.1 EHLO first")
	case c.s.opt.RequireAuth && c.user == "":
		return c.send("530 5.7.0 authentication required")
	}
	if limit, ok := offers(c.offered(), "SIZE"); ok && tooBig(p, limit) {
		return c.send("552 5.3.4 too big")
	}
	if name := c.unknown(p.Params, "FROM"); name != "" {
		return c.send("555 5.5.4 unknown parameter " + name)
	}
	ok, err := c.answer(Mail, p.Address, "250 2.1.0 sender ok")
	if ok {
		c.from = &p
	}
	return err
}

func (c *session) rcpt(arg string) error {
	p, ok := path(arg, "TO:")
	switch {
	case !ok:
		return c.send("501 5.5.4 syntax: RCPT TO:<address>")
	case c.from == nil:
		return c.send("503 5.5.1 MAIL first")
	}
	if name := c.unknown(p.Params, "TO"); name != "" {
		return c.send("555 5.5.4 unknown parameter " + name)
	}
	ok, err := c.answer(Rcpt, p.Address, "250 2.1.5 recipient ok")
	if ok {
		c.to = append(c.to, p)
	}
	return err
}

// needs says which keyword must be offered for a parameter.
var needs = map[string]string{
	"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN",
	"NOTIFY": "DSN", "ORCPT": "DSN", "REQUIRETLS": "REQUIRETLS", "AUTH": "AUTH",
}

// unknown returns the first parameter that goes with nothing offered.
func (c *session) unknown(params []string, of string) string {
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		forRcpt := name == "NOTIFY" || name == "ORCPT"
		if !c.offers(needs[name]) || forRcpt != (of == "TO") {
			return name
		}
		if name == "BODY" && strings.EqualFold(value, "BINARYMIME") && !c.offers("BINARYMIME") {
			return name
		}
	}
	return ""
}

func tooBig(p Path, limit string) bool {
	max, _ := strconv.ParseInt(limit, 10, 64)
	v, _ := param(p.Params, "SIZE")
	n, _ := strconv.ParseInt(v, 10, 64)
	return max > 0 && n > max
}

// path takes "FROM:<address> PARAM=value" apart; a ">" inside quotes does not
// end the address.
func path(arg, prefix string) (Path, bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return Path{}, false
	}
	rest := strings.TrimLeft(arg[len(prefix):], " ")
	if !strings.HasPrefix(rest, "<") {
		return Path{}, false
	}
	quoted := false
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && quoted:
			i++
		case rest[i] == '"':
			quoted = !quoted
		case rest[i] == '>' && !quoted:
			return Path{Address: rest[1:i], Params: strings.Fields(rest[i+1:])}, true
		}
	}
	return Path{}, false
}

func param(params []string, name string) (string, bool) {
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

func addrPort(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
