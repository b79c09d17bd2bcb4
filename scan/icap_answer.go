package scan

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
)

// icapAnswer is the head of an answer and, of one with a body, the status of the
// web page in it.
type icapAnswer struct {
	status int
	header textproto.MIMEHeader
	page   int  // status of the encapsulated response; 0 when there is none
	body   bool // a body follows
}

// readICAP reads an answer up to its body: no further than Encapsulated says,
// for some servers hold back the rest.
func readICAP(r *bufio.Reader) (*icapAnswer, error) {
	tp := textproto.NewReader(r)
	line, err := tp.ReadLine()
	if err != nil {
		return nil, noEOF(err)
	}
	a := &icapAnswer{}
	if a.status, err = statusOf(line, "ICAP/1."); err != nil {
		return nil, err
	}
	if a.header, err = tp.ReadMIMEHeader(); err != nil {
		return nil, noEOF(err)
	}
	if a.status != 200 {
		return a, nil
	}
	return a, a.readPage(r)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// statusOf reads "VERSION 200 text".
func statusOf(line, version string) (int, error) {
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != version+"0" && f[0] != version+"1" || len(f[1]) != 3 {
		return 0, fmt.Errorf("status line %q", clean(line, 100))
	}
	n, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil || n < 100 {
		return 0, fmt.Errorf("status line %q", clean(line, 100))
	}
	return int(n), nil
}

// maxPage is how long the header of an encapsulated response may be.
const maxPage = 64 << 10

// readPage reads the header of the encapsulated response.
func (a *icapAnswer) readPage(r *bufio.Reader) error {
	header, length, body, err := parseEncapsulated(a.header.Get("Encapsulated"))
	if err != nil || !header {
		a.body = body
		return err
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return noEOF(err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	a.body = body
	a.page, err = statusOf(strings.TrimSuffix(line, "\r"), "HTTP/1.")
	return err
}

// parseEncapsulated reads the list of an answer to RESPMOD: res-hdr at 0 with its
// length, and whether a body follows (RFC 3507 s. 4.4.1). Blank is nothing.
func parseEncapsulated(s string) (header bool, length int64, body bool, err error) {
	if strings.TrimSpace(s) == "" {
		return false, 0, false, nil
	}
	before := int64(-1)
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		at, perr := strconv.ParseInt(value, 10, 64)
		if !ok || perr != nil || at < 0 || at > maxPage || at < before || body {
			return false, 0, false, fmt.Errorf("field Encapsulated: %q", clean(s, 100))
		}
		switch strings.ToLower(name) {
		case "res-hdr":
			if header || at != 0 {
				return false, 0, false, fmt.Errorf("field Encapsulated: %q", clean(s, 100))
			}
			header = true
		case "res-body", "opt-body":
			body, length = true, at
		case "null-body":
			length = at
		default:
			return false, 0, false, fmt.Errorf("field Encapsulated: %q", clean(s, 100))
		}
		before = at
	}
	if header && length == 0 {
		return false, 0, false, fmt.Errorf("field Encapsulated: %q", clean(s, 100))
	}
	return header, length, body, nil
}

// options reads the answer to OPTIONS (RFC 3507 s. 4.10.2).
func (a *icapAnswer) options() (*icapOptions, error) {
	if a.status != 200 {
		return nil, fmt.Errorf("OPTIONS: status %d", a.status)
	}
	if methods := a.header.Get("Methods"); methods != "" && !strings.Contains(strings.ToUpper(methods), "RESPMOD") {
		return nil, fmt.Errorf("the service takes %s, not RESPMOD", clean(methods, 80))
	}
	o := &icapOptions{tag: clean(a.header.Get("Istag"), 80), name: clean(a.header.Get("Service"), 120), preview: -1}
	// A preview is of use only where the server may not say 204 without one.
	preview, err := strconv.ParseInt(a.header.Get("Preview"), 10, 32)
	if err == nil && preview > 0 && !strings.Contains(a.header.Get("Allow"), "204") {
		o.preview = min(preview, chunkSize)
	}
	if n, err := strconv.ParseUint(a.header.Get("Max-Connections"), 10, 31); err == nil {
		o.connections = int(n)
	}
	return o, nil
}

// judge reads the verdict of an answer. The fields of vendors count before its
// status: a server may name a virus and give back the message all the same.
func (x *exchange) judge(a *icapAnswer) (Response, error) {
	if a.status != 200 && a.status != 204 {
		return Response{}, fmt.Errorf("ICAP status %d", a.status)
	}
	if v := a.found(); v.Class != "" {
		return v, nil
	}
	switch {
	case a.status == 204:
		return Response{Class: Clean}, nil
	case a.page >= 400 && a.page < 500 || a.page == 307:
		return Response{Class: Policy}, nil
	case a.page != 200:
		return Response{}, fmt.Errorf("encapsulated status %d", a.page)
	}
	same, err := x.same(a.body)
	switch {
	case err != nil:
		return Response{}, err
	case !same:
		return Response{Class: Unscannable, Text: "modified"}, nil
	case !x.c.clean200.Load() && !x.m.Canary:
		return Response{Class: Unscannable, Text: "given back without a verdict"}, nil
	}
	return Response{Class: Clean, Text: givenBack}, nil
}

// givenBack is the text of a clean verdict that was 200 with the same body.
const givenBack = "given back unchanged"

// same reports whether the body that follows is the message.
func (x *exchange) same(body bool) (bool, error) {
	if !body {
		return false, nil
	}
	x.conn.left += x.m.Content.Size() // of a head it may say no more than others: that is kept
	h := sha256.New()
	n, err := io.Copy(h, httputil.NewChunkedReader(x.r))
	if err != nil {
		return false, noEOF(err)
	}
	want, err := x.m.Content.digest()
	return n == x.m.Content.Size() && digest(h.Sum(nil)) == want, err
}

// found reads the fields in which vendors tell what they found; the zero Verdict
// when there are none.
func (a *icapAnswer) found() Response {
	if list := a.header.Values("X-Infection-Found"); len(list) > 0 {
		return infection(list)
	}
	for _, name := range []string{"X-Virus-Id", "X-Virus-Name"} {
		for _, value := range a.header.Values(name) {
			if s := strings.Trim(strings.TrimSpace(value), "."); !strings.EqualFold(s, "no threats") && s != "" {
				return Response{Class: Virus, Text: reason(value)}
			}
		}
	}
	if s := a.header.Values("X-Fsecure-Scan-Result"); len(s) > 0 && !(len(s) == 1 && strings.EqualFold(strings.TrimSpace(s[0]), "clean")) {
		return Response{Class: Virus, Text: reason(a.header.Get("X-Fsecure-Infection-Name"))}
	}
	if s := strings.TrimSpace(a.header.Get("X-Violations-Found")); s != "" && s != "0" {
		return Response{Class: Virus, Text: reason(s)}
	}
	for _, name := range []string{"X-Block-Reason", "X-Blocked"} {
		if s := a.header.Values(name); len(s) > 0 {
			return Response{Class: Policy, Text: reason(s[0])}
		}
	}
	for _, s := range a.header.Values("X-Response-Info") {
		if strings.EqualFold(strings.TrimSpace(s), "blocked") {
			return Response{Class: Policy, Text: reason(a.header.Get("X-Response-Desc"))}
		}
	}
	return Response{}
}

// infection reads X-Infection-Found: "Type=0; Resolution=2; Threat=NAME;". Type 0
// is a virus, 1 a policy, 2 a container that it could not look into. The worst
// of several counts.
func infection(list []string) (v Response) {
	rank := map[Class]int{Unscannable: 1, Policy: 2, Virus: 3}
	for _, value := range list {
		one := Response{Class: Policy}
		for part := range strings.SplitSeq(value, ";") {
			name, s, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch {
			case strings.EqualFold(name, "Type"):
				one.Class = map[string]Class{"0": Virus, "1": Policy, "2": Unscannable}[strings.TrimSpace(s)]
				if one.Class == "" {
					one.Class = Policy
				}
			case strings.EqualFold(name, "Threat"):
				one.Text = reason(s)
			}
		}
		if rank[one.Class] > rank[v.Class] {
			v = one
		}
	}
	return v
}
