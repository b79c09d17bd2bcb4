package scan

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// The test texts of the trade, put together at run time, so that no scanner
// takes this program for what it is to find.
func gtube() string {
	return "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
}
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
}

// canaryText makes what stands in a test message.
func canaryText(finds string) (text string, attached []byte) {
	switch strings.ToLower(finds) {
	case "gtube":
		return gtube(), nil
	case "eicar":
		return "The file attached is the EICAR test file.", []byte(eicar())
	}
	return finds, nil
}

// canaryMessage is marked, so that no scanner learns from it and no site rule
// counts it.
func canaryMessage(hostname, text string, attached []byte, name string) *Message {
	if hostname == "" {
		hostname = "localhost"
	}
	b := new(bytes.Buffer)
	fmt.Fprintf(b, "From: Postern <postmaster@%s>\r\nTo: Postern <postmaster@%s>\r\nSubject: test of the scanner\r\n"+
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <canary@%s>\r\nX-Postern-Canary: yes\r\nMIME-Version: 1.0\r\n", hostname, hostname, hostname)
	if attached == nil {
		b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n")
	} else {
		b.WriteString("Content-Type: multipart/mixed; boundary=\"canary\"\r\n\r\n--canary\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n")
	}
	b.WriteString(text + "\r\n")
	if attached != nil {
		fmt.Fprintf(b, "--canary\r\nContent-Type: application/octet-stream; name=%q\r\nContent-Disposition: attachment; filename=%q\r\n"+
			"Content-Transfer-Encoding: base64\r\n\r\n%s\r\n--canary--\r\n", name, name, base64.StdEncoding.EncodeToString(attached))
	}
	from := "postmaster@" + hostname
	head, body, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	return &Message{
		ID: "canary", Client: "postern", IP: loopback, Helo: hostname, Hostname: hostname, From: from, To: []string{from},
		Content: Content{Head: append(head, "\r\n\r\n"...), Chunks: [][]byte{body}}, Canary: true,
	}
}

// encryptedZIP is an archive of one stored file whose entry says that it is
// encrypted. It holds nothing.
func encryptedZIP() []byte {
	data := []byte("\x9a\x1f\x27\x33\xc4\x05\x66\x71\x08\xb9\xda\xeb nothing")
	name := "secret.txt"
	sum := crc32.ChecksumIEEE([]byte(" nothing"))
	le := func(b *bytes.Buffer, n int, v uint32) {
		for range n {
			b.WriteByte(byte(v))
			v >>= 8
		}
	}
	common := func(b *bytes.Buffer) {
		le(b, 2, 20) // version needed
		le(b, 2, 1)  // encrypted
		le(b, 2, 0)  // stored
		le(b, 4, 0x5c210000)
		le(b, 4, sum)
		le(b, 4, uint32(len(data)))
		le(b, 4, uint32(len(data)-12))
		le(b, 2, uint32(len(name)))
		le(b, 2, 0)
	}
	b := new(bytes.Buffer)
	b.WriteString("PK\x03\x04")
	common(b)
	b.WriteString(name)
	b.Write(data)
	directory := b.Len()
	b.WriteString("PK\x01\x02")
	le(b, 2, 20)
	common(b)
	le(b, 2, 0)
	le(b, 4, 0)
	le(b, 4, 0)
	le(b, 4, 0)
	b.WriteString(name)
	size := b.Len() - directory
	b.WriteString("PK\x05\x06")
	le(b, 4, 0)
	le(b, 2, 1)
	le(b, 2, 1)
	le(b, 4, uint32(size))
	le(b, 4, uint32(directory))
	le(b, 2, 0)
	return b.Bytes()
}

// Proof is the result of one test message.
type Proof struct {
	What  string // "eicar", "gtube", "encrypted", "answer", or the text of canary_finds
	Found bool
	Err   error // why not
}

// prove sends the canaries that the scanner's settings need and returns what
// came of them; the first that is not found ends it.
func (s *Scanner) prove(ctx context.Context) (proofs []Proof) {
	for _, what := range s.canaries() {
		err := s.canary(ctx, what)
		proofs = append(proofs, Proof{What: what, Found: err == nil, Err: err})
		if err != nil {
			return proofs
		}
	}
	return proofs
}

// canaries names the test messages of s.
func (s *Scanner) canaries() []string {
	kind, _ := s.cfg.kind()
	switch {
	case kind == "rspamd":
		return []string{"gtube"}
	case kind == "milter" && s.cfg.CanaryFinds == "":
		return []string{canaryAnswer}
	case kind == "milter":
		return []string{s.cfg.CanaryFinds}
	}
	list := []string{"eicar"}
	if s.cfg.CanaryFinds != "" {
		list[0] = s.cfg.CanaryFinds
	}
	if kind == "icap" {
		list = append(list, canaryAnswer)
	}
	if s.cfg.Encrypted == Refuse {
		list = append(list, canaryEncrypted)
	}
	return list
}

const (
	canaryAnswer    = "answer"    // a clean message, to which it must answer
	canaryEncrypted = "encrypted" // an archive that it must not call clean
)

var errNotFound = errors.New("test message was not found: it does not look at mail")

// canary sends one test message; nil when the scanner found what it has to.
func (s *Scanner) canary(ctx context.Context, what string) error {
	text, attached := canaryText(what)
	name := "test.com"
	switch what {
	case canaryAnswer:
		text = "This is a test message. Nothing is wrong with it."
	case canaryEncrypted:
		text, attached, name = "The archive attached is encrypted.", encryptedZIP(), "secret.zip"
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	v, err := s.ask(ctx, canaryMessage(s.hostname, text, attached, name))
	switch {
	case err != nil:
		return err
	case what == canaryAnswer:
		return s.answered(&v)
	case what == canaryEncrypted && v.Class == Clean:
		return errors.New("encrypted test archive was called clean: the scanner does not tell of encryption")
	case v.Class == Clean || v.Class == Later:
		return errNotFound
	case what == canaryEncrypted:
		return nil
	case v.Class != Spam && v.Class != Virus && v.Class != Policy:
		return fmt.Errorf("test message was called %s, not refused", v.Class)
	}
	return nil
}

// answered judges the answer to a clean test message and learns from it how the
// service says clean.
func (s *Scanner) answered(v *Response) error {
	if v.Class != Clean {
		return fmt.Errorf("clean test message was called %s: %s", v.Class, v.Text)
	}
	if c, ok := s.asker.(*icap); ok {
		c.clean200.Store(v.Text == givenBack)
	}
	return nil
}
