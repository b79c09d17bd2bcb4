package main

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"postern/dkimsign"
)

// floor is the least that a signing relay with limits and without a queue can
// do for a mail: read the envelope, run one Redis script, give the upstream's
// verdict on each recipient, read the mail, make one RSA signature, forward it on
// a connection that is kept, and answer. It judges nothing, checks nothing and
// forgets everything. The distance of the relay to it travels between machines.
type floor struct {
	upstream string
	redis    string          // "": no limit
	key      *rsa.PrivateKey // nil: no signature
	scanners *scanners       // nil: nobody is shown the mail

	mu    sync.Mutex
	spare []link
}

// link is what a session needs from others. It outlives the session.
type link struct {
	up       *stream
	chunking bool // up offered CHUNKING (RFC 3030)
	redis    *stream
}

// link returns one that is kept, or an empty one.
func (f *floor) link() (l link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.spare); n > 0 {
		l, f.spare = f.spare[n-1], f.spare[:n-1]
	}
	return l
}

func (f *floor) keep(l link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spare = append(f.spare, l)
}

// floorMain is the floor as a process of its own: bench floor UPSTREAM REDIS KEY
// [CLAMD RSPAMD] with "-" for what is not wanted. It prints its address.
func floorMain(args []string, out io.Writer) error {
	if len(args) != 3 && len(args) != 5 {
		return errors.New("usage: bench floor UPSTREAM REDIS KEYFILE [CLAMD RSPAMD]")
	}
	f := floor{upstream: args[0]}
	if len(args) == 5 {
		f.scanners = &scanners{clamd: args[3], rspamd: args[4]}
	}
	if args[1] != "-" {
		f.redis = args[1]
	}
	if args[2] != "-" {
		key, err := dkimsign.ReadKey(args[2])
		if err != nil {
			return err
		}
		f.key = key.(*rsa.PrivateKey)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, ln.Addr())
	f.serve(ln)
	return nil
}

// serve runs until the listener is closed and all clients have left.
func (f *floor) serve(ln net.Listener) {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() {
			defer c.Close()
			s := floorSession{stream: newStream(c, 64<<10), f: f, link: f.link()}
			if s.serve() == nil || s.idle {
				f.keep(s.link)
			}
		})
	}
}

type floorSession struct {
	*stream
	link
	f        *floor
	idle     bool   // nothing is under way on link
	envelope []byte // MAIL and RCPT as they came, until the upstream has them
	sender   []byte
	asked    int // commands in envelope
	body     []byte
	head     []byte // what is written before the body
	bufs     net.Buffers
}

func (s *floorSession) serve() error {
	s.out = append(s.out, "220 floor.example ESMTP\r\n"...)
	for s.idle = true; ; {
		line, err := s.line()
		if err != nil {
			return err
		}
		switch {
		case verb(line, "MAIL"):
			s.idle = false
			s.sender = append(s.sender[:0], line...)
			s.envelope = append(append(s.envelope[:0], line...), "\r\n"...)
			s.asked = 1
		case verb(line, "RCPT"):
			s.envelope = append(append(s.envelope, line...), "\r\n"...)
			s.asked++
			if !verb(s.buf[s.r:s.w], "RCPT") { // else the next one goes with it
				if err := s.ask(); err != nil {
					return err
				}
			}
		case verb(line, "DATA"):
			if err := s.data(); err != nil {
				return err
			}
			s.idle = true
		case verb(line, "EHLO"):
			s.out = append(s.out, "250-floor.example\r\n250-PIPELINING\r\n250 SIZE 104857600\r\n"...)
		case verb(line, "QUIT"):
			s.out = append(s.out, "221 2.0.0 bye\r\n"...)
			return s.flush()
		default:
			s.out = append(s.out, "250 2.0.0 ok\r\n"...)
		}
	}
}

func (s *floorSession) data() error {
	s.out = append(s.out, "354 go ahead\r\n"...)
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.readBody(); err != nil {
		return err
	}
	if s.f.scanners != nil {
		if err := s.f.scanners.ask(s.body); err != nil {
			return err
		}
	}
	s.head = append(s.head[:0], "Received: from client by floor.example; "...)
	s.head = append(time.Now().UTC().AppendFormat(s.head, time.RFC1123Z), "\r\n"...)
	if s.f.key != nil {
		field, err := s.f.sign(s.body)
		if err != nil {
			return err
		}
		s.head = append(s.head, field...)
	}
	return s.forward()
}

// readBody reads up to the final dot and takes the dots of transparency out.
func (s *floorSession) readBody() error {
	s.body = append(s.body[:0], s.buf[s.r:s.w]...)
	s.r, s.w = 0, 0
	at, from, to := 0, 0, 0 // body[:to] is clean, body[from:at] still to be moved there
	for {
		i := bytes.Index(s.body[at:], finalDot[:3])
		if i < 0 || at+i+len(finalDot) > len(s.body) {
			at = max(at, len(s.body)-len(finalDot))
			if err := s.moreBody(); err != nil {
				return err
			}
			continue
		}
		at += i + 2
		to += move(s.body, to, from, at)
		from = at + 1
		if s.body[at+1] == '\r' {
			s.w = copy(s.buf, s.body[at+3:])
			s.body = s.body[:to]
			return nil
		}
		at++
	}
}

// move copies body[from:end] to to, unless it is there already.
func move(body []byte, to, from, end int) int {
	if to == from {
		return end - from
	}
	return copy(body[to:], body[from:end])
}

func (s *floorSession) moreBody() error {
	if len(s.body) == cap(s.body) {
		s.body = append(s.body, make([]byte, max(64<<10, len(s.body)))...)[:len(s.body)]
	}
	n, err := s.Read(s.body[len(s.body):cap(s.body)])
	s.body = s.body[:len(s.body)+n]
	if n > 0 {
		return nil
	}
	return err
}

// ask charges the sender, sends the envelope and passes the replies on.
func (s *floorSession) ask() error {
	if err := s.charge(); err != nil {
		return err
	}
	if s.up == nil {
		c, err := net.Dial("tcp", s.f.upstream)
		if err != nil {
			return err
		}
		s.up = newStream(c, 8<<10)
		if err := s.hello(); err != nil {
			return err
		}
	}
	s.up.out = append(s.up.out, s.envelope...)
	s.envelope = s.envelope[:0]
	for ; s.asked > 0; s.asked-- {
		_, line, err := s.up.reply()
		if err != nil {
			return err
		}
		s.out = append(append(s.out, line...), "\r\n"...)
	}
	return nil
}

// hello reads the greeting of a new upstream and what it offers.
func (s *floorSession) hello() error {
	if _, _, err := s.up.reply(); err != nil {
		return err
	}
	s.up.out = append(s.up.out, "EHLO floor.example\r\n"...)
	for s.chunking = false; ; {
		line, err := s.up.line()
		if err != nil {
			return err
		}
		if len(line) <= 4 || line[3] == ' ' {
			return nil
		}
		s.chunking = s.chunking || verb(line[4:], "CHUNKING")
	}
}

// forward sends the mail by DATA, or in one write by BDAT if the upstream offers
// it, and passes the reply on.
func (s *floorSession) forward() error {
	b := s.up.out[:0]
	if s.chunking {
		b = strconv.AppendInt(append(b, "BDAT "...), int64(len(s.head)+len(s.body)), 10)
		b = append(append(b, " LAST\r\n"...), s.head...)
		s.bufs = append(s.bufs[:0], b, s.body)
	} else {
		s.up.out = append(b, "DATA\r\n"...)
		code, line, err := s.up.reply()
		if err == nil && code != 354 {
			err = fmt.Errorf("DATA: %q", line)
		}
		if err != nil {
			return err
		}
		b = append(s.up.out[:0], s.head...)
		s.bufs = append(s.bufs[:0], b, stuffed(s.body), finalDot[2:])
	}
	bufs := s.bufs
	if _, err := bufs.WriteTo(s.up.Conn); err != nil {
		return err
	}
	s.up.out = b[:0]
	_, line, err := s.up.reply()
	if err != nil {
		return err
	}
	s.out = append(append(s.out, line...), "\r\n"...)
	return nil
}

// stuffed returns body with the dots of transparency (RFC 5321 s. 4.5.2), body
// itself if it needs none. A line has come before it.
func stuffed(body []byte) []byte {
	if !bytes.HasPrefix(body, []byte{'.'}) && !bytes.Contains(body, []byte("\r\n.")) {
		return body
	}
	body = bytes.ReplaceAll(body, []byte("\r\n."), []byte("\r\n.."))
	if body[0] == '.' {
		body = append([]byte{'.'}, body...)
	}
	return body
}

// script is one fixed window for one sender.
const script = `local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if n == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if n > tonumber(ARGV[3]) then return 0 end
return 1`

// charge runs the script for the sender.
func (s *floorSession) charge() error {
	if s.f.redis == "" {
		return nil
	}
	if s.redis == nil {
		c, err := net.Dial("tcp", s.f.redis)
		if err != nil {
			return err
		}
		s.redis = newStream(c, 1<<10)
	}
	sender, _, _ := bytes.Cut(s.sender, []byte{'>'})
	r := append(s.redis.out, "*7\r\n"...)
	for _, arg := range [][]byte{[]byte("EVALSHA"), []byte(scriptSHA), []byte("1"), sender, strconv.AppendInt(nil, int64(s.asked-1), 10), []byte("3600000"), []byte("1000000000")} {
		r = append(strconv.AppendInt(append(r, '$'), int64(len(arg)), 10), "\r\n"...)
		r = append(append(r, arg...), "\r\n"...)
	}
	s.redis.out = r
	line, err := s.redis.line()
	if err == nil && string(line) != ":1" {
		err = fmt.Errorf("redis: %q", line)
	}
	return err
}

// floorFields are what the floor signs.
var floorFields = []string{"From:", "To:", "Subject:", "Date:", "Message-ID:"}

// sign returns a DKIM-Signature of the simplest kind: c=simple/simple, so that
// octets are hashed as they are (RFC 6376 s. 3.4).
func (f *floor) sign(mail []byte) ([]byte, error) {
	end := bytes.Index(mail, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, errors.New("mail without body")
	}
	body := mail[end+4:]
	for bytes.HasSuffix(body, []byte("\r\n\r\n")) {
		body = body[:len(body)-2]
	}
	bodyHash := sha256.Sum256(body)
	signed := make([]byte, 0, 1<<10)
	for _, name := range floorFields {
		signed = appendField(signed, mail[:end+2], name)
	}
	field := make([]byte, 0, 768)
	field = append(field, "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d="+domain+"; s="+selector+"; h=From:To:Subject:Date:Message-ID; bh="...)
	field = append(base64.StdEncoding.AppendEncode(field, bodyHash[:]), "; b="...)
	digest := sha256.Sum256(append(signed, field...))
	signature, err := rsa.SignPKCS1v15(nil, f.key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	return append(base64.StdEncoding.AppendEncode(field, signature), "\r\n"...), nil
}

// appendField appends the field called name, which is not folded and occurs once.
func appendField(dst, header []byte, name string) []byte {
	for len(header) > 0 {
		line, rest, _ := bytes.Cut(header, []byte{'\n'})
		if verb(line, name) {
			return append(append(dst, line...), '\n')
		}
		header = rest
	}
	return dst
}
