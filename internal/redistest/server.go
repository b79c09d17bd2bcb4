package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience bounds every wait for a server. It is long because machines that run
// tests are slow at times.
const patience = 60 * time.Second

// Server is one redis-server process. Its methods belong to the test's
// goroutine.
type Server struct {
	Addr string // "127.0.0.1:port", the same after a restart
	Port int
	Dir  string // its working folder

	t        testing.TB
	conf     string
	args     []string
	plain    *redis.Options
	mu       sync.Mutex
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process is gone
	stopped  bool
	client   *redis.Client
	tlsFiles *TLSFiles
}

// Start starts a server with further lines of redis.conf, such as "maxmemory 4mb".
// Nothing is written to disk unless a line asks for it: with "appendonly yes" a
// Restart finds all that was answered, even after Kill. It skips the test when
// there is no redis-server.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	return start(t, t.TempDir(), lines, false, nil)
}

// StartTLS starts a server that speaks TLS only and asks for a client
// certificate; see Server.TLS.
func StartTLS(t testing.TB, lines ...string) *Server {
	t.Helper()
	files := newTLSFiles(t)
	return start(t, t.TempDir(), lines, false, files)
}

func start(t testing.TB, dir string, lines []string, sentinel bool, files *TLSFiles) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is missing; install the Debian package redis-server")
	}
	var err error
	for range 5 { // another process may be quicker to take the port
		s := &Server{t: t, Dir: dir, conf: filepath.Join(dir, "redis.conf"), tlsFiles: files}
		s.Port = freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		s.plain = &redis.Options{Addr: s.Addr, MaxRetries: -1, DisableIdentity: true, PoolSize: 2}
		s.write(lines)
		if sentinel {
			s.args = []string{"--sentinel"}
		}
		if err = s.run(); err == nil {
			t.Cleanup(s.end)
			return s
		}
	}
	t.Fatalf("start redis-server: %v", err)
	return nil
}

// write makes redis.conf. What lines say comes last and holds.
func (s *Server) write(lines []string) {
	s.t.Helper()
	conf := []string{
		"bind 127.0.0.1", "protected-mode no", "daemonize no", "dir " + s.Dir,
		"logfile " + filepath.Join(s.Dir, "redis.log"),
	}
	if s.tlsFiles != nil {
		conf = append(conf, s.tlsFiles.conf(s.Port)...)
		s.plain.TLSConfig = s.tlsFiles.Client()
	} else {
		conf = append(conf, "port "+strconv.Itoa(s.Port))
	}
	if !strings.HasPrefix(strings.Join(lines, "\n"), "sentinel") {
		conf = append(conf, `save ""`, "appendonly no", "appendfsync no")
	}
	conf = append(append(conf, lines...), "")
	if err := os.WriteFile(s.conf, []byte(strings.Join(conf, "\n")), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, line := range lines {
		if password, ok := strings.CutPrefix(line, "requirepass "); ok {
			s.plain.Password = password
		}
	}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	cmd := exec.Command("redis-server", append([]string{s.conf}, s.args...)...)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.mu.Lock()
	s.cmd, s.ended = cmd, ended
	s.mu.Unlock()
	return s.ready(ended)
}

func (s *Server) ready(ended chan struct{}) error {
	c := redis.NewClient(s.plain)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Ping(ctx).Err()
		var reply redis.Error
		if err == nil || errors.As(err, &reply) && !strings.HasPrefix(reply.Error(), "LOADING") {
			return nil
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(s.Dir, "redis.log"))
			return fmt.Errorf("redis-server ended: %s", log)
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// Client is a client for the test's own commands, closed when the test ends.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		s.client = redis.NewClient(s.plain)
		s.t.Cleanup(func() { s.client.Close() })
	}
	return s.client
}

// TLS is where the certificates of a server made by StartTLS lie.
func (s *Server) TLS() *TLSFiles { return s.tlsFiles }

// Stop ends the server as an operator would, and waits for it.
func (s *Server) Stop() { s.signal(syscall.SIGTERM); s.wait() }

// Kill ends the server by SIGKILL, and waits for it.
func (s *Server) Kill() { s.signal(syscall.SIGKILL); s.wait() }

// Pause stops the process by SIGSTOP: connections stay, and new ones are
// accepted by the kernel, but nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP); s.stopped = true }

// Resume undoes Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT); s.stopped = false }

// Restart starts the server again after Stop or Kill, on the same port, with
// what lies on disk.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("restart redis-server: %v", err)
	}
}

// Wipe removes what a stopped server has on disk, so that Restart is empty.
func (s *Server) Wipe() {
	s.t.Helper()
	for _, pattern := range []string{"*.rdb", "appendonlydir", "*.aof"} {
		found, _ := filepath.Glob(filepath.Join(s.Dir, pattern))
		for _, name := range found {
			if err := os.RemoveAll(name); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig) // an error says that it has ended
	}
}

func (s *Server) wait() {
	if s.stopped { // a stopped process handles no SIGTERM
		s.Resume()
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

func (s *Server) end() {
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// freePort finds a port p such that p and p+10000, the bus of a Cluster, are
// free. Both lie under the ports that outgoing connections take, so that none
// of these can take one while a server restarts.
func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 11000 + rand.IntN(11000)
		if isFree(port) && isFree(port+10000) {
			return port
		}
	}
	t.Fatal("no free port from 11000 to 22000")
	return 0
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
