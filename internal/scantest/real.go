package scantest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"postern/internal/freeport"
)

// Run starts a server in the foreground and ends it, with all that it has started,
// with the test. The process is for tests that kill it.
func Run(t *testing.T, name string, args ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(name, args...)
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		ended := time.AfterFunc(3*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		cmd.Wait()
		ended.Stop()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s: %s", name, log)
		}
	})
	return cmd.Process
}

// Program finds a server; make test installs it.
func Program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, folder := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(folder + name); err == nil {
			return folder + name
		}
	}
	t.Fatalf("%s is missing; install the Debian package %s", name, debian)
	return ""
}

// Folder is short enough for a socket and open to the users that servers run as.
func Folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
	return dir
}

// Write makes a file.
func Write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// FreePort is a port of 127.0.0.1 that nobody listens on.
func FreePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// EicarSignature is a line of a database of clamd (.hdb) by which it finds the EICAR
// file as Own.Eicar.
const EicarSignature = "44d88612fea8a8f36de82e1278abb02f:68:Own.Eicar\n"

// RealClamd is a clamd of Debian with a database of one line.
type RealClamd struct {
	Socket   string // a path
	Database string // a folder
	Process  *os.Process
}

// StartClamd runs one with more lines of configuration. It may take some seconds
// until it listens.
func StartClamd(t *testing.T, more string) *RealClamd {
	t.Helper()
	clamd := Program(t, "clamd", "clamav-daemon")
	dir := Folder(t)
	c := &RealClamd{Socket: filepath.Join(dir, "s"), Database: filepath.Join(dir, "db")}
	if err := os.Mkdir(c.Database, 0o755); err != nil {
		t.Fatal(err)
	}
	Write(t, filepath.Join(c.Database, "own.hdb"), EicarSignature)
	Write(t, filepath.Join(dir, "clamd.conf"), fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nUser root\nStreamMaxLength 1M\nMaxRecursion 5\n%s", c.Socket, c.Database, more))
	c.Process = Run(t, clamd, "-c", filepath.Join(dir, "clamd.conf"))
	return c
}

// RealRspamd is an rspamd of Debian without network and modules.
type RealRspamd struct {
	Normal, Proxy string // ports of 127.0.0.1: of a normal worker, and of a milter
	Socket        string // of the normal worker, too
	Process       *os.Process
}

// StartRspamd runs one with weights of symbols, lines of a group of its
// configuration, and rules in Lua. It may take some seconds until it listens.
func StartRspamd(t *testing.T, weights, rules string) *RealRspamd {
	t.Helper()
	rspamd := Program(t, "rspamd", "rspamd")
	dir := Folder(t)
	r := &RealRspamd{Normal: FreePort(t), Proxy: FreePort(t), Socket: filepath.Join(dir, "n.sock")}
	Write(t, filepath.Join(dir, "rspamd.conf"), fmt.Sprintf(`
options {
  pidfile = "%[1]s/pid"; filters = ""; tempdir = "%[1]s"; local_addrs = "192.168.0.0/16";
  dns { nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 0; }
  url_tld = "/usr/share/rspamd/effective_tld_names.dat"; raw_mode = false;
  control_socket = "%[1]s/c.sock mode=0600";
  max_message = 1M; task_timeout = 2s;
}
logging { type = "file"; filename = "%[1]s/log"; level = "warning"; }
worker "normal" { bind_socket = "127.0.0.1:%[2]s"; bind_socket = "%[1]s/n.sock mode=0600"; count = 1; }
worker "rspamd_proxy" { bind_socket = "127.0.0.1:%[3]s"; milter = yes; count = 1; timeout = 5s;
  upstream "local" { default = yes; self_scan = yes; } }
metric "default" { actions { reject = 15; add_header = 6; greylist = 4; } group "own" { %[4]s } }
lua = "%[1]s/rules.lua";
`, dir, r.Normal, r.Proxy, weights))
	Write(t, filepath.Join(dir, "rules.lua"), rules)
	r.Process = Run(t, rspamd, "-f", "-i", "-c", filepath.Join(dir, "rspamd.conf"))
	return r
}
