package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"postern/dkimsign"
)

// runner runs rows one after another.
type runner struct {
	lab      *lab
	duration time.Duration // of one round
	rounds   int
	idle     int             // connections of the idle row
	hosts    int             // of the row with receivers
	soak     time.Duration   // of the soak row
	given    string          // a relay that was built already
	race     bool            // build the relay with the race detector
	built    map[bool]string // by whether with cgo
}

// binary returns the relay, building it at first use. Without cgo, Go signs in place
// of OpenSSL.
func (r *runner) binary(ctx context.Context, cgo bool) (string, error) {
	if r.given != "" && cgo {
		return r.given, nil
	}
	if path := r.built[cgo]; path != "" {
		return path, nil
	}
	path := filepath.Join(r.lab.dir, fmt.Sprintf("relay-cgo-%t", cgo))
	args := []string{"build", "-buildvcs=false", "-o", path}
	if r.race {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "postern/cmd/relay")...)
	if !cgo {
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the relay: %w: %s", err, bytes.TrimSpace(out))
	}
	if r.built == nil {
		r.built = map[bool]string{}
	}
	r.built[cgo] = path
	return path, nil
}

// sink starts an upstream, with STARTTLS if secure.
func (r *runner) sink(secure, chunking bool) (*sink, error) {
	if !secure {
		return newSink(chunking, nil)
	}
	cfg, err := r.lab.certificate()
	if err != nil {
		return nil, err
	}
	return newSink(chunking, cfg)
}

func (r *runner) clientTLS() *tls.Config {
	return &tls.Config{RootCAs: r.lab.ca.Pool(), ServerName: "127.0.0.1"}
}

// verify sends one mail per connection, before anything is measured, and looks
// at what comes out: each mail once, its octets those that went in behind what
// was added, with one good signature for each key.
func (r *runner) verify(ctx context.Context, s *sink, m *meter, p plan, keys string) error {
	s.keep(p.conns)
	l, err := p.run(ctx, m.addr, time.Minute, 1)
	if err != nil {
		return fmt.Errorf("%s: %w; %s", m.name, err, m.lastLines())
	}
	kept := s.keptMessages()
	if l.messages != p.conns || len(kept) != p.conns {
		return fmt.Errorf("%s: %d mails sent, %d of %d came out", m.name, l.messages, len(kept), p.conns)
	}
	for _, mail := range kept {
		if !bytes.HasSuffix(mail, p.messages[0].plain) {
			return fmt.Errorf("%s: what came out is not what went in", m.name)
		}
	}
	if err := r.verifySignatures(kept[0], keys); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

func (r *runner) verifySignatures(mail []byte, keys string) error {
	want := 0
	switch keys {
	case "rsa":
		want = 1
	case "rsa+ed25519":
		want = 2
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(mail), &dkim.VerifyOptions{LookupTXT: r.lab.txt})
	if err != nil {
		return err
	}
	if len(found) != want {
		return fmt.Errorf("%d signatures, want %d", len(found), want)
	}
	for _, v := range found {
		if v.Err != nil {
			return fmt.Errorf("signature: %w", v.Err)
		}
	}
	return nil
}

// txt answers for the DNS of the domain.
func (l *lab) txt(name string) ([]string, error) {
	for file, sel := range map[string]string{"rsa.pem": selector, "ed25519.pem": "e" + selector} {
		key, err := dkimsign.ReadKey(filepath.Join(l.dir, file))
		if err != nil {
			return nil, err
		}
		if have, value := dkimsign.Record(domain, sel, key); have == name {
			return []string{value}, nil
		}
	}
	return nil, errors.New("no such record: " + name)
}

// scratch makes the folder that everything is written to.
func scratch() (string, error) { return os.MkdirTemp("", "postern-bench-") }
