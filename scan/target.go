package scan

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"postern/internal/text"
)

// target is where a scanner listens.
type target struct {
	network string // tcp or unix
	address string
	tls     bool
	host    string // of an URL, as written, for its Host field
	path    string // of an URL
}

// target reads the address of c.
func (c *Config) target() (target, error) {
	switch {
	case strings.HasPrefix(c.Rspamd, "unix:"):
		t, err := socketTarget(c.Rspamd, "http")
		t.host = "localhost"
		return t, err
	case c.Rspamd != "":
		return urlTarget(c.Rspamd, "http", "https", "11333")
	case c.ICAP != "":
		t, err := urlTarget(c.ICAP, "icap", "icaps", "1344")
		if err == nil && (t.path == "" || t.path == "/") {
			err = fmt.Errorf(`%q names no service; write such as "icap://127.0.0.1:1344/avscan"`, c.ICAP)
		}
		return t, err
	case c.Clamd != "":
		return socketTarget(c.Clamd, "tcp")
	case c.Milter != "":
		return socketTarget(c.Milter, "inet")
	}
	return target{}, errors.New("a scanner without an address")
}

func urlTarget(s, plain, secure, port string) (target, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != plain && u.Scheme != secure || clean(s, len(s)+1) != s {
		return target{}, fmt.Errorf(`%q is not an address; write such as "%s://127.0.0.1:%s"`, s, plain, port)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	address := net.JoinHostPort(u.Hostname(), port)
	return target{network: "tcp", address: address, tls: u.Scheme == secure, host: u.Host, path: strings.TrimSuffix(u.EscapedPath(), "/")}, nil
}

func socketTarget(s, tcp string) (target, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok && strings.HasPrefix(path, "/") {
		return target{network: "unix", address: path}, nil
	}
	if address, ok := strings.CutPrefix(s, tcp+":"); ok {
		if host, port, err := net.SplitHostPort(address); err == nil && host != "" && port != "" {
			return target{network: "tcp", address: address}, nil
		}
	}
	return target{}, fmt.Errorf(`%q is not an address; write "unix:/path" or "%s:HOST:PORT"`, s, tcp)
}

// private reports whether mail on its way to t is seen by nobody else.
func (t target) private() bool {
	if t.tls || t.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(t.address)
	return text.IsLoopback(host)
}

// open connects. Whatever is done with the connection ends with ctx, which has a
// deadline: reading and writing fail then, however much still comes.
func (t target) open(ctx context.Context) (*bound, error) {
	d := net.Dialer{KeepAlive: -1} // ctx ends it sooner
	c, err := d.DialContext(ctx, t.network, t.address)
	if err != nil {
		return nil, err
	}
	if t.tls {
		host, _, _ := net.SplitHostPort(t.address)
		secure := tls.Client(c, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		c = secure
	}
	b := &bound{Conn: c, left: maxAnswer}
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	b.stop = context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return b, nil
}

// maxAnswer is how many octets a scanner may say about one message, beside the
// message itself.
const maxAnswer = 1 << 20

// bound is a connection that ends with its context, says no more than maxAnswer
// and lets nobody set another deadline.
type bound struct {
	net.Conn
	left int64
	stop func() bool
	// hasty: it has said something before it had all that it was to look at.
	hasty bool
}

// errHasty: what was called clean may be another message, or none.
var errHasty = errors.New("clean before it had all")

// look notes whether an answer has come already, at the moment before the last of the
// message is written. TLS has something of its own to say, so that it is not asked.
func (b *bound) look() {
	c, ok := b.Conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		b.hasty = b.hasty || err == nil && n > 0
	})
}

var errTooMuch = fmt.Errorf("answer of over %d octets", maxAnswer)

func (b *bound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// SetDeadline does nothing: the deadline is that of the whole question. A
// library that sets one for each packet would wait for ever on a peer that says
// "progress".
func (b *bound) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (b *bound) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (b *bound) SetWriteDeadline(time.Time) error { return nil }

// send writes pieces, in one system call where nothing stands between us and the
// socket.
func (b *bound) send(pieces net.Buffers) error {
	if _, ok := b.Conn.(*tls.Conn); !ok {
		_, err := pieces.WriteTo(b.Conn)
		return err
	}
	w := bufio.NewWriterSize(b.Conn, 16<<10) // a record of TLS
	if _, err := pieces.WriteTo(w); err != nil {
		return err
	}
	return w.Flush()
}

// Close also stops waiting for the context.
func (b *bound) Close() error {
	b.stop()
	return b.Conn.Close()
}
