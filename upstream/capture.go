package upstream

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/mail"
)

// capture keeps mail in a folder instead of sending it.
type capture struct {
	name string
	dir  string
}

func newCapture(name, dir string) (*capture, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("upstream %s: make capture folder: %w", name, err)
	}
	return &capture{name: name, dir: dir}, nil
}

// captured is the envelope as it is kept beside the message.
type captured struct {
	Time     time.Time           `json:"time"`
	Upstream string              `json:"upstream"`
	EHLO     string              `json:"ehlo"`
	Source   []string            `json:"source_ip"`
	From     string              `json:"from"` // "" is the null reverse-path
	To       []capturedRecipient `json:"to"`
	Size     int64               `json:"size"`
	Body     string              `json:"body,omitempty"`
	UTF8     bool                `json:"smtputf8,omitempty"`
	TLS      bool                `json:"requiretls,omitempty"`
	Ret      string              `json:"ret,omitempty"`
	EnvID    string              `json:"envid,omitempty"`
}

type capturedRecipient struct {
	Address string `json:"address"`
	Notify  string `json:"notify,omitempty"`
	ORcpt   string `json:"orcpt,omitempty"`
}

// write keeps one mail: the message octet by octet as NAME.eml, the envelope as
// NAME.json; names sort by time. The message comes last, so that who finds it
// finds both, and both are on the disk when the reply is given.
func (c *capture) write(now time.Time, t *Transaction, body *Content) (mail.Reply, error) {
	var id [4]byte
	rand.Read(id[:])
	name := now.UTC().Format("20060102T150405.000000Z") + "-" + hex.EncodeToString(id[:])
	text, err := json.MarshalIndent(c.envelope(now, t, body.total()), "", "  ")
	if err != nil {
		return mail.Reply{}, fmt.Errorf("upstream %s: capture: %w", c.name, err)
	}
	envelope := Content{Prefix: text, Chunks: [][]byte{{'\n'}}}
	if err := c.save(name+".json", &envelope); err != nil {
		return mail.Reply{}, err
	}
	err = c.save(name+".eml", body)
	if err == nil {
		err = c.sync()
	}
	if err != nil {
		os.Remove(filepath.Join(c.dir, name+".eml"))
		os.Remove(filepath.Join(c.dir, name+".json"))
		return mail.Reply{}, err
	}
	return mail.Reply{Code: 250, Status: "2.0.0", Text: "captured as " + name}, nil
}

func (c *capture) envelope(now time.Time, t *Transaction, size int64) captured {
	e := captured{
		Time: now, Upstream: c.name, EHLO: t.route.ehlo, Source: t.route.sources(), From: t.env.From.String(), Size: size,
		Body: t.env.Body, UTF8: t.env.UTF8, TLS: t.env.RequireTLS, Ret: t.env.Ret, EnvID: t.env.EnvID,
	}
	for i := range t.accepted {
		r := &t.accepted[i]
		e.To = append(e.To, capturedRecipient{r.String(), r.Notify, r.ORcpt})
	}
	return e
}

// save writes a file whole or not at all.
func (c *capture) save(name string, body *Content) error {
	f, err := os.CreateTemp(c.dir, "tmp-*") // mode 0600
	if err != nil {
		return fmt.Errorf("upstream %s: capture: %w", c.name, err)
	}
	err = body.pieces(func(p []byte, _, _ bool) error {
		_, err := f.Write(p)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, name))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("upstream %s: capture: %w", c.name, err)
	}
	return nil
}

// sync puts the names of the files on the disk.
func (c *capture) sync() error {
	d, err := os.Open(c.dir)
	if err == nil {
		err = d.Sync()
		d.Close()
	}
	if err != nil {
		return fmt.Errorf("upstream %s: capture: %w", c.name, err)
	}
	return nil
}
