package scan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
)

// icap sends messages as answers of a web server for inspection (RFC 3507
// RESPMOD), a connection for each.
type icap struct {
	target  target
	offered atomic.Pointer[icapOptions]
	// clean200: it answers a clean message with 200 and the same body. Elsewhere
	// that may as well mean that it did not look.
	clean200 atomic.Bool
}

func (c *icap) ask(ctx context.Context, m *Message) (Response, error) {
	o := c.offered.Load()
	if o == nil {
		var err error
		if o, err = c.options(ctx); err != nil {
			return Response{}, err
		}
	}
	conn, err := c.target.open(ctx)
	if err != nil {
		return Response{}, err
	}
	x := &exchange{c: c, conn: conn, r: bufio.NewReader(conn), m: m, wrote: make(chan error, 1)}
	defer x.end()
	return x.run(o)
}

// exchange is one RESPMOD.
type exchange struct {
	c     *icap
	conn  *bound
	r     *bufio.Reader
	m     *Message
	began bool        // the rest of the message is being written
	ended atomic.Bool // the write of its end has begun
	wrote chan error
}

// end closes the connection, and returns when nothing reads the message any
// more.
func (x *exchange) end() {
	x.conn.Close()
	if x.began {
		<-x.wrote
	}
}

func (x *exchange) run(o *icapOptions) (Response, error) {
	content := x.m.Content.Reader()
	if o.preview >= 0 {
		a, whole, err := x.preview(o.preview, content)
		switch {
		case err != nil:
			return Response{}, err
		case a.status != 100 && a.status == 204 && !whole:
			return Response{Class: Unscannable, Text: "only the beginning was looked at"}, nil
		case a.status != 100:
			return x.judge(a)
		case whole:
			return Response{}, errors.New("asks for more behind the end")
		}
		x.write(nil, content)
	} else {
		x.write(x.head(-1), content)
	}
	a, err := readICAP(x.r)
	if err != nil {
		return Response{}, err
	}
	hasty := !x.ended.Load() && a.status == 204 // what is given back may come while the rest goes
	v, err := x.judge(a)
	if err == nil && v.Class == Clean {
		x.began = false
		err = <-x.wrote // it cannot be clean before all of it was taken
	}
	if err == nil && v.Class == Clean && hasty {
		err = errHasty
	}
	return v, err
}

// write sends head and the rest of the content beside the reading of the answer,
// for a server may send back what comes while it comes.
func (x *exchange) write(head []byte, content io.Reader) {
	x.began = true
	go func() { x.wrote <- writeChunked(x.conn, head, content, "0\r\n\r\n", func() { x.ended.Store(true) }) }()
}

// preview sends the first octets and reads what the server says to them.
func (x *exchange) preview(n int64, content io.Reader) (a *icapAnswer, whole bool, err error) {
	whole = x.m.Content.Size() <= n
	end := "0\r\n\r\n"
	if whole {
		end = "0; ieof\r\n\r\n"
	}
	if err := writeChunked(x.conn, x.head(n), io.LimitReader(content, n), end, func() {}); err != nil {
		return nil, whole, err
	}
	a, err = readICAP(x.r)
	return a, whole, err
}

// writeChunked writes content in chunks, and calls last before the end leaves.
func writeChunked(w io.Writer, head []byte, content io.Reader, end string, last func()) error {
	b := bufio.NewWriterSize(w, chunkSize+1<<10)
	b.Write(head)
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(content, buf)
		if n > 0 {
			fmt.Fprintf(b, "%x\r\n", n)
			b.Write(buf[:n])
			b.WriteString("\r\n")
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			last()
			b.WriteString(end)
			return b.Flush()
		case err != nil:
			return fmt.Errorf("read the message: %w", err)
		}
	}
}

// head is the request with the headers of the made-up web page.
func (x *exchange) head(preview int64) []byte {
	host := x.m.Hostname
	if host == "" {
		host = "localhost"
	}
	// The page is named by the transaction, so that a sandbox's late report is, too.
	req := "GET http://" + host + "/" + url.PathEscape(x.m.ID) + ".eml HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	res := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: %d\r\n\r\n", x.m.Content.Size())
	b := new(bytes.Buffer)
	x.c.start(b, "RESPMOD")
	b.WriteString("Allow: 204\r\n")
	if preview >= 0 {
		fmt.Fprintf(b, "Preview: %d\r\n", preview)
	}
	fmt.Fprintf(b, "Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n", len(req), len(req)+len(res))
	b.WriteString(req)
	b.WriteString(res)
	return b.Bytes()
}

func (c *icap) start(b *bytes.Buffer, method string) {
	fmt.Fprintf(b, "%s icap://%s%s ICAP/1.0\r\nHost: %s\r\nConnection: close\r\nUser-Agent: Postern\r\n",
		method, c.target.host, c.target.path, c.target.host)
}

// icapOptions is what a service says of itself.
type icapOptions struct {
	tag     string
	name    string
	preview int64 // octets; -1 where none is to be sent
	// connections at one time; 0: it does not say
	connections int
}

// options asks what the service offers, and keeps it.
func (c *icap) options(ctx context.Context) (*icapOptions, error) {
	conn, err := c.target.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	b := new(bytes.Buffer)
	c.start(b, "OPTIONS")
	b.WriteString("Encapsulated: null-body=0\r\n\r\n")
	if _, err := conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	a, err := readICAP(bufio.NewReader(conn))
	if err != nil {
		return nil, fmt.Errorf("OPTIONS: %w", err)
	}
	o, err := a.options()
	if err == nil {
		c.offered.Store(o)
	}
	return o, err
}

func (c *icap) version(ctx context.Context) (Version, error) {
	o, err := c.options(ctx)
	if err != nil {
		return Version{}, err
	}
	return Version{Name: strings.TrimSpace(o.name + " " + o.tag)}, nil
}
