// Package capture keeps mail in a folder in place of sending it, so that somebody can
// try a relay, or a configuration, and see what would have left. Each message is a file
// NAME.eml, octet by octet; its envelope lies beside it as NAME.json.
package capture

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/mail"
	"postern/upstream/content"
)

// Folder is where the mail of one upstream is kept.
type Folder struct {
	name string
	dir  string
}

// Open makes the folder where it is missing. name is that of the upstream.
func Open(name, dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("upstream %s: make capture folder: %w", name, err)
	}
	return &Folder{name: name, dir: dir}, nil
}

// Envelope is what NAME.json holds: the parameters of MAIL and RCPT as in mail.Envelope,
// and how the mail would have left.
type Envelope struct {
	Time     time.Time   `json:"time"`
	Upstream string      `json:"upstream"`
	EHLO     string      `json:"ehlo"`
	Source   []string    `json:"source_ip"`
	From     string      `json:"from"` // "" is the null reverse-path
	To       []Recipient `json:"to"`
	Size     int64       `json:"size"`
	Body     string      `json:"body,omitempty"`
	UTF8     bool        `json:"smtputf8,omitempty"`
	TLS      bool        `json:"requiretls,omitempty"`
	Ret      string      `json:"ret,omitempty"`
	EnvID    string      `json:"envid,omitempty"`
}

// Recipient is one forward-path with its parameters of DSN (RFC 3461).
type Recipient struct {
	Address string `json:"address"`
	Notify  string `json:"notify,omitempty"`
	ORcpt   string `json:"orcpt,omitempty"`
}

// Write keeps one mail: the message octet by octet as NAME.eml, the envelope as
// NAME.json; names sort by time. The message comes last, so that who finds it
// finds both, and both are on the disk when the reply is given.
func (d *Folder) Write(e *Envelope, body *content.Content) (mail.Reply, error) {
	var id [4]byte
	rand.Read(id[:])
	name := e.Time.UTC().Format("20060102T150405.000000Z") + "-" + hex.EncodeToString(id[:])
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return mail.Reply{}, fmt.Errorf("upstream %s: capture: %w", d.name, err)
	}
	envelope := content.Content{Prefix: text, Chunks: [][]byte{{'\n'}}}
	if err := d.save(name+".json", &envelope); err != nil {
		return mail.Reply{}, err
	}
	err = d.save(name+".eml", body)
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		os.Remove(filepath.Join(d.dir, name+".eml"))
		os.Remove(filepath.Join(d.dir, name+".json"))
		return mail.Reply{}, err
	}
	return mail.Reply{Code: 250, Status: "2.0.0", Text: "captured as " + name}, nil
}

// save writes a file whole or not at all.
func (d *Folder) save(name string, body *content.Content) error {
	f, err := os.CreateTemp(d.dir, "tmp-*") // mode 0600
	if err != nil {
		return fmt.Errorf("upstream %s: capture: %w", d.name, err)
	}
	err = body.Pieces(func(p []byte, _, _ bool) error {
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
		err = os.Rename(f.Name(), filepath.Join(d.dir, name))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("upstream %s: capture: %w", d.name, err)
	}
	return nil
}

// sync puts the names of the files on the disk.
func (d *Folder) sync() error {
	f, err := os.Open(d.dir)
	if err == nil {
		err = f.Sync()
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("upstream %s: capture: %w", d.name, err)
	}
	return nil
}
