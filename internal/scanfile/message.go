// Package scanfile shows messages in files to the scanners of a configuration,
// one message or a folder of them, before or instead of mail.
package scanfile

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"net/netip"

	"postern/scan"
)

// Envelope is whose a message is taken for. Blank From and To come from the header.
type Envelope struct {
	Client, Stream, User string
	From                 string
	To                   []string
}

// errTooLarge is the error of Read where the relay would refuse a message for its
// size before any scanner sees it.
var errTooLarge = errors.New("is larger than max_size of [message]")

// Read takes a message of at most limit octets from r, its lines ended by CR LF as
// mail has them.
func Read(r io.Reader, limit int64, hostname string, e *Envelope) (*scan.Message, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(raw)) > limit:
		return nil, errTooLarge
	case len(raw) == 0:
		return nil, errors.New("is empty")
	}
	raw = crlf(raw)
	m := &scan.Message{
		ID: "scan", Client: e.Client, Stream: e.Stream, User: e.User, IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		Helo: hostname, Hostname: hostname, From: e.From, To: e.To,
	}
	if m.User == "" && m.Client == "" {
		m.User = "scan" // without one rspamd takes it for mail from outside
	}
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if found {
		head = raw[:len(head)+4]
	}
	m.Content = scan.Content{Head: head, Chunks: [][]byte{body}}
	addEnvelope(m)
	return m, nil
}

// crlf ends the lines of b by CR LF where they end by LF.
func crlf(b []byte) []byte {
	if bytes.Count(b, []byte("\n")) == bytes.Count(b, []byte("\r\n")) {
		return b
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// maxTo is how many recipients are taken from a header.
const maxTo = 100

// addEnvelope takes from the header what the envelope leaves blank. A header that
// cannot be read leaves it blank.
func addEnvelope(m *scan.Message) {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Content.Head))
	if err != nil {
		return
	}
	list := func(field string) (all []string) {
		addresses, err := parsed.Header.AddressList(field)
		if err != nil {
			return nil
		}
		for _, a := range addresses[:min(len(addresses), maxTo)] {
			all = append(all, a.Address)
		}
		return all
	}
	if from := list("From"); m.From == "" && len(from) > 0 {
		m.From = from[0]
	}
	if m.To == nil {
		m.To = append(list("To"), list("Cc")...)
	}
}

// Options of Open.
type Options struct {
	Hostname string
	Configs  map[string]scan.Config
	// Client and Stream narrow the scanners to those that see such mail. Blank
	// Client: all of them.
	Client, Stream string
}

// ErrNone is the error of Open where no scanner would see the mail.
var ErrNone = errors.New("the configuration has no [scanner.NAME] for this mail")

// Open starts the scanners and returns when each has answered its canaries or
// cannot. The caller stops them.
func Open(o Options) (*scan.Set, error) {
	if len(o.Configs) == 0 {
		return nil, ErrNone
	}
	configs := make(map[string]scan.Config, len(o.Configs))
	for name, c := range o.Configs {
		if o.Client == "" {
			c.Clients, c.Streams = nil, nil
		}
		configs[name] = c
	}
	set, err := scan.New(scan.Options{Hostname: o.Hostname, Configs: configs})
	if err != nil {
		return nil, err
	}
	if !set.Wanted(o.Client, o.Stream) {
		return nil, ErrNone
	}
	set.Start(proofWait)
	return set, nil
}

// proofWait is as long as the canaries of one scanner may take.
const proofWait = 4 * scan.MaxTimeout
