package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/freeport"
)

// cleanup is a Postfix that reads: its cleanup daemon looks up each address that
// it finds in From in a table that is ours, and refuses each message for its text,
// so that none is queued. One connection takes one message after the other, so that
// the look-ups between two replies are those of one message.
type cleanup struct {
	config string
	conn   net.Conn
	in     *bufio.Reader
	table  net.Listener
	served sync.WaitGroup

	started bool

	mu    sync.Mutex
	found []string // in the present message
	conns map[net.Conn]bool
}

// myorigin is the domain that Postfix puts behind words that it takes for local
// names.
const myorigin = "word.invalid"

// readWithPostfix says whom Postfix takes for the authors of messages.
func readWithPostfix(ctx context.Context, passed []message) (found [][]string, err error) {
	dir, err := os.MkdirTemp("", "readers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := startCleanup(dir)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for i := range passed {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		authors, err := c.read(passed[i].text)
		if err != nil {
			log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
			return nil, fmt.Errorf("message %d, %q: %w; Postfix logged ...%s", i, passed[i].text, err, log[max(0, len(log)-1000):])
		}
		found = append(found, authors)
	}
	return found, nil
}

func startCleanup(dir string) (c *cleanup, err error) {
	c = &cleanup{config: filepath.Join(dir, "etc"), conns: map[net.Conn]bool{}}
	if c.table, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	c.served.Go(c.serveTable)
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	if err := c.writeConfig(dir, address); err != nil {
		return nil, err
	}
	if out, err := exec.Command("postfix", "-c", c.config, "start").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("start Postfix, which needs root: %w\n%s", err, out)
	}
	c.started = true
	return c, c.connect(address)
}

// writeConfig makes the folders of a Postfix that has nothing but what reads.
func (c *cleanup) writeConfig(dir, address string) error {
	settings := []string{
		"compatibility_level = 3.6", "queue_directory = " + filepath.Join(dir, "queue"), "data_directory = " + filepath.Join(dir, "data"),
		"maillog_file = " + filepath.Join(dir, "maillog"), "maillog_file_prefixes = " + dir,
		"myhostname = reader.invalid", "myorigin = " + myorigin, "mydestination =", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4",
		"mynetworks = 127.0.0.0/8", "alias_maps =", "alias_database =", "append_dot_mydomain = no", "smtputf8_enable = yes",
		"default_transport = discard", "smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 1000000000", "smtpd_hard_error_limit = 1000000000",
		"max_use = 1000000000", "in_flow_delay = 0s", "header_size_limit = 1000000",
		"sender_canonical_maps = socketmap:inet:" + c.table.Addr().String() + ":from", "sender_canonical_classes = header_sender",
		// What it takes for another field than From goes before it is read, and so does the message in the end.
		"header_checks = regexp:" + filepath.Join(c.config, "header"), "body_checks = regexp:" + filepath.Join(c.config, "body"),
	}
	for _, d := range []string{dir, c.config, filepath.Join(dir, "queue"), filepath.Join(dir, "data")} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"main.cf": strings.Join(settings, "\n") + "\n", "master.cf": fmt.Sprintf(services, address),
		"header": "!/^From:/ IGNORE\n", "body": "/./ REJECT\n",
	} {
		if err := os.WriteFile(filepath.Join(c.config, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	u, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return os.Chown(filepath.Join(dir, "data"), uid, gid)
}

const services = `%s inet n - n - 1 smtpd
cleanup unix n - n - 0 cleanup
pickup unix n - n 60 1 pickup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

func (c *cleanup) connect(address string) (err error) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c.conn, err = net.Dial("tcp", address); err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("connect to Postfix: %w", err)
		}
	}
	c.in = bufio.NewReader(c.conn)
	_, err = c.ask("EHLO bench.invalid\r\n", 2) // one is the greeting
	return err
}

// read gives one message to Postfix and returns the addresses that it looks up
// meanwhile.
func (c *cleanup) read(text []byte) ([]string, error) {
	if _, err := c.ask("MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<x@sink.invalid>\r\nDATA\r\n", 3); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.found = nil
	c.mu.Unlock()
	dotted := bytes.ReplaceAll(append([]byte("\r\n"), text...), []byte("\r\n."), []byte("\r\n.."))[2:]
	last, err := c.ask(string(dotted)+".\r\n", 1)
	if err == nil && !strings.HasPrefix(last, "550 5.7.1 ") {
		err = fmt.Errorf("it said %q", last)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.found...), err
}

// ask writes commands and returns the last line of the last of so many replies.
func (c *cleanup) ask(commands string, replies int) (last string, err error) {
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c.conn, commands); err != nil {
		return "", err
	}
	for replies > 0 {
		if last, err = c.in.ReadString('\n'); err != nil {
			return "", err
		}
		if len(last) < 4 || last[3] != '-' {
			replies--
		}
	}
	return last, nil
}

// serveTable answers look-ups (socketmap_table(5)): nothing is ever found.
func (c *cleanup) serveTable() {
	for {
		conn, err := c.table.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conns[conn] = true
		c.mu.Unlock()
		c.served.Go(func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				request, err := readNetstring(in)
				if err != nil {
					return
				}
				c.note(strings.TrimPrefix(request, "from "))
				if _, err := io.WriteString(conn, "9:NOTFOUND ,"); err != nil {
					return
				}
			}
		})
	}
}

// note keeps whole addresses; Postfix also asks for their halves.
func (c *cleanup) note(key string) {
	if strings.IndexByte(key, '@') <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = append(c.found, key)
}

func readNetstring(in *bufio.Reader) (string, error) {
	digits, err := in.ReadString(':')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(digits, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return "", fmt.Errorf("length of a look-up %q", digits)
	}
	b := make([]byte, n+1)
	_, err = io.ReadFull(in, b)
	return string(b[:n]), err
}

func (c *cleanup) close() {
	if c.conn != nil {
		c.conn.Close()
	}
	if c.started {
		exec.Command("postfix", "-c", c.config, "abort").Run()
	}
	c.table.Close()
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.served.Wait()
}
