package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// scanners are rspamd without network and modules, and clamd with a database of one
// line, as the tests run them.
type scanners struct {
	clamd  string // a socket
	rspamd string // a socket, as on one host
	procs  []*process
}

// startScanners runs both and waits until they answer.
func (l *lab) startScanners(ctx context.Context) (*scanners, error) {
	dir, err := os.MkdirTemp("", "scan-") // a socket has a short path
	if err != nil {
		return nil, err
	}
	s := &scanners{clamd: filepath.Join(dir, "s"), rspamd: filepath.Join(dir, "r")}
	files := map[string]string{
		"own.hdb":    "44d88612fea8a8f36de82e1278abb02f:68:Own.Eicar\n",
		"clamd.conf": fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nUser root\nMaxThreads 16\n", s.clamd, dir),
		"rspamd.conf": fmt.Sprintf(`
options { pidfile = "%[1]s/pid"; filters = ""; tempdir = "%[1]s"; local_addrs = "192.168.0.0/16";
  dns { nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 0; }
  url_tld = "/usr/share/rspamd/effective_tld_names.dat"; control_socket = "%[1]s/c.sock mode=0600"; }
logging { type = "file"; filename = "%[1]s/log"; level = "error"; }
worker "normal" { bind_socket = "%[2]s mode=0600"; count = 2; }
metric "default" { actions { reject = 15; add_header = 6; } }
`, dir, s.rspamd),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, c := range [][]string{
		{"clamd.log", "clamd", "-c", filepath.Join(dir, "clamd.conf")},
		{"rspamd.log", "rspamd", "-f", "-i", "-c", filepath.Join(dir, "rspamd.conf")},
	} {
		p, err := start(ctx, l.dir, c[0], c[1], c[2:]...)
		if err != nil {
			s.stop()
			return nil, fmt.Errorf("%w (Debian packages clamav-daemon and rspamd)", err)
		}
		s.procs = append(s.procs, p)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := s.ask([]byte("Subject: x\r\n\r\nhello\r\n"))
		if err == nil {
			return s, nil
		}
		if time.Now().After(end) {
			s.stop()
			return nil, fmt.Errorf("scanners are not ready: %w", err)
		}
	}
}

func (s *scanners) stop() {
	for _, p := range s.procs {
		p.stop()
	}
}

// ask shows both a message at the same time, as barely as their protocols allow, and
// is nil where both call it clean.
func (s *scanners) ask(message []byte) error {
	other := make(chan error, 1)
	go func() { other <- s.askClamd(message) }()
	err := s.askRspamd(message)
	if e := <-other; e != nil {
		return e
	}
	return err
}

func (s *scanners) askClamd(message []byte) error {
	c, err := net.Dial("unix", s.clamd)
	if err != nil {
		return err
	}
	defer c.Close()
	head := binary.BigEndian.AppendUint32([]byte("zINSTREAM\x00"), uint32(len(message)))
	bufs := net.Buffers{head, message, {0, 0, 0, 0}}
	if _, err := bufs.WriteTo(c); err != nil {
		return err
	}
	if said, err := io.ReadAll(c); err != nil || string(said) != "stream: OK\x00" {
		return fmt.Errorf("clamd said %q, %w", said, err)
	}
	return nil
}

func (s *scanners) askRspamd(message []byte) error {
	c, err := net.Dial("unix", s.rspamd)
	if err != nil {
		return err
	}
	defer c.Close()
	head := fmt.Appendf(nil, "POST /checkv2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser: bench\r\nContent-Length: %d\r\n\r\n", len(message))
	bufs := net.Buffers{head, message}
	if _, err := bufs.WriteTo(c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(said, []byte(`"no action"`)) {
		return fmt.Errorf("rspamd said %q, %w", said, err)
	}
	return nil
}

// manyMessages has a load send 127 messages by 128 senders, so that the relay, which
// remembers 10,000 clean verdicts, has to ask about each.
func (p *plan) manyMessages(size int) {
	first := newMessage(size)
	p.messages = make([]message, 127)
	for i := range p.messages {
		with := func(b []byte) []byte {
			return bytes.Replace(b, []byte("1732521600.4711."), fmt.Appendf(nil, "1732521600.%04d.", i), 1)
		}
		p.messages[i] = message{plain: with(first.plain), wire: with(first.wire)}
	}
	p.senders, p.pick = 128, func(number int) int { return number % len(p.messages) }
}
