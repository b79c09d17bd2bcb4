package scan

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs a server in the foreground and ends it with the test.
func start(t *testing.T, name string, args ...string) {
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
}

// program finds a server; make test installs it.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, folder := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(folder + name); err == nil {
			return folder + name
		}
	}
	t.Fatalf("%s is missing; install the Debian package %s", name, debian)
	return ""
}

// folder is short enough for a socket and open to the users that servers run as.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// await waits until the scanner of a set is up.
func await(t *testing.T, configs map[string]Config) *Set {
	t.Helper()
	set, err := New(Options{Hostname: "relay.example", Configs: configs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Stop(nil) })
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		up := true
		for _, s := range set.scanners {
			up = up && s.check(t.Context())
		}
		switch {
		case up:
			return set
		case time.Since(began) > 15*time.Second:
			t.Fatalf("scanners are down: %+v", set.States())
		}
	}
}

func startClamd(t *testing.T, more string) string {
	clamd := program(t, "clamd", "clamav-daemon")
	dir := folder(t)
	db := filepath.Join(dir, "db")
	os.Mkdir(db, 0o755)
	write(t, filepath.Join(db, "own.hdb"), "44d88612fea8a8f36de82e1278abb02f:68:Own.Eicar\n")
	socket := filepath.Join(dir, "s")
	write(t, filepath.Join(dir, "clamd.conf"), fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nUser root\nStreamMaxLength 1M\nMaxRecursion 5\n%s", socket, db, more))
	start(t, clamd, "-c", filepath.Join(dir, "clamd.conf"))
	return socket
}

// attach is a message with a file.
func attach(name string, file []byte) *Message {
	return message("x\r\n").with(fmt.Sprintf("--b\r\nContent-Type: application/octet-stream; name=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n",
		name, base64.StdEncoding.EncodeToString(file)))
}

func (m *Message) with(body string) *Message {
	m.Content.Head = []byte("From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	m.Content.Chunks = [][]byte{[]byte(body)}
	return m
}

func zipped(t *testing.T, name string, content []byte, depth int) []byte {
	t.Helper()
	for range depth {
		b := new(bytes.Buffer)
		w := zip.NewWriter(b)
		f, _ := w.Create(name)
		f.Write(content)
		w.Close()
		content, name = b.Bytes(), "inner.zip"
	}
	return content
}

// trials are what an examination of the only scanner of a set found, by test
// message; "" is all well.
func trials(t *testing.T, set *Set) map[string]string {
	t.Helper()
	x := set.Examine(t.Context())[0]
	if x.Err != nil {
		t.Fatal(x.Err)
	}
	found := map[string]string{}
	for _, trial := range x.Trials {
		found[trial.What] = ""
		if trial.Err != nil {
			found[trial.What] = trial.Err.Error()
		}
	}
	return found
}

func TestRealClamd(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		deep, locked   Class
	}{
		{"defaults", "", Clean, Clean},
		{"alerts", "AlertEncrypted yes\nAlertExceedsMax yes\n", Unscannable, Encrypted},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := startClamd(t, c.settings)
			set := await(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Timeout = "unix:"+socket, 10*time.Second })})
			got := trials(t, set)
			if nested := got["nested"] == ""; nested != (c.deep == Unscannable) || got["eicar"]+got["clean"] != "" || got["largest"] != "it is called unscannable" {
				t.Errorf("examination: %q", got)
			}
			for _, m := range []struct {
				name string
				m    *Message
				want Class
			}{
				{"clean", message("hello\r\n"), Clean},
				{"virus in a part", attach("x.com", []byte(eicar())), Virus},
				{"virus in a ZIP", attach("x.zip", zipped(t, "x.com", []byte(eicar()), 1)), Virus},
				{"virus deep in ZIPs", attach("x.zip", zipped(t, "x.com", []byte(eicar()), 21)), c.deep},
				{"encrypted ZIP", attach("x.zip", encryptedZIP()), c.locked},
				{"over StreamMaxLength", message(strings.Repeat("0123456789abcde\n", 100_000)), Unscannable},
			} {
				if v := only(t, set, m.m); v.Class != m.want {
					t.Errorf("%s: %s %q %v, want %s", m.name, v.Class, v.Text, v.Err, m.want)
				}
			}
			v, err := set.scanners[0].version(t.Context())
			if err != nil || !strings.HasPrefix(v.Name, "ClamAV ") {
				t.Errorf("version %+v %v", v, err)
			}
			strict := newSet(t, map[string]Config{"av": config(func(k *Config) { k.Clamd, k.Encrypted = "unix:"+socket, Refuse })})
			if up := strict.States()[0].Up; up != (c.locked == Encrypted) {
				t.Errorf("with encrypted = refuse it is up: %v, want %v: %+v", up, !up, strict.States())
			}
		})
	}
}

func TestRealICAP(t *testing.T) {
	cicap := program(t, "c-icap", "c-icap and libc-icap-mod-virus-scan")
	socket := startClamd(t, "")
	// Where clamd is away when c-icap starts, c-icap calls everything clean.
	await(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "unix:" + socket })})
	dir, port := folder(t), freePort(t)
	write(t, filepath.Join(dir, "clamd_mod.conf"), "Module common clamd_mod.so\nclamd_mod.ClamdSocket "+socket+"\n")
	write(t, filepath.Join(dir, "virus_scan.conf"), "Service antivirus_module virus_scan.so\nServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple\n"+
		"virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE\nvirus_scan.MaxObjectSize 5M\nvirus_scan.DefaultEngine clamd\nvirus_scan.SendPercentData 5\nvirus_scan.StartSendPercentDataAfter 2M\nvirus_scan.Allow204Responces on\n")
	write(t, filepath.Join(dir, "c-icap.conf"), fmt.Sprintf(`PidFile %[1]s/pid
CommandsSocket %[1]s/ctl
Timeout 300
MaxKeepAliveRequests 100
KeepAliveTimeout 600
StartServers 1
MaxServers 2
MinSpareThreads 5
MaxSpareThreads 10
ThreadsPerChild 10
Port 127.0.0.1:%[2]s
User root
Group root
ServerAdmin a@example.org
ServerName localhost
TmpDir %[1]s
MaxMemObject 131072
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
LoadMagicFile /etc/c-icap/c-icap.magic
acl all src 0.0.0.0/0.0.0.0
icap_access allow all
ServerLog %[1]s/server.log
AccessLog %[1]s/access.log
Include %[1]s/clamd_mod.conf
Include %[1]s/virus_scan.conf
`, dir, port))
	start(t, cicap, "-N", "-f", filepath.Join(dir, "c-icap.conf"))
	set := await(t, map[string]Config{"dlp": config(func(k *Config) { k.ICAP, k.Timeout = "icap://127.0.0.1:"+port+"/avscan", 10*time.Second })})
	for _, m := range []struct {
		name string
		m    *Message
		want Class
	}{
		{"clean", message("hello\r\n"), Clean},
		{"virus in a part", attach("x.com", []byte(eicar())), Virus},
	} {
		if v := only(t, set, m.m); v.Class != m.want {
			t.Errorf("%s: %s %q %v, want %s", m.name, v.Class, v.Text, v.Err, m.want)
		}
	}
	_, err := askRaw(t, config(func(k *Config) { k.ICAP = "icap://127.0.0.1:" + port + "/none" }), message("x"))
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown service: %v, want a fault of status 404", err)
	}
}

func TestRealRspamd(t *testing.T) {
	rspamd := program(t, "rspamd", "rspamd")
	dir, normal, proxy := folder(t), freePort(t), freePort(t)
	write(t, filepath.Join(dir, "rspamd.conf"), fmt.Sprintf(`
options {
  pidfile = "%[1]s/pid"; filters = ""; tempdir = "%[1]s"; local_addrs = "192.168.0.0/16";
  dns { nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 0; }
  url_tld = "/usr/share/rspamd/effective_tld_names.dat"; raw_mode = false;
  control_socket = "%[1]s/c.sock mode=0600";
  max_message = 1M; task_timeout = 2s;
}
logging { type = "file"; filename = "%[1]s/log"; level = "warning"; }
worker "normal" { bind_socket = "127.0.0.1:%[2]s"; count = 1; }
worker "rspamd_proxy" { bind_socket = "127.0.0.1:%[3]s"; milter = yes; count = 1; timeout = 5s;
  upstream "local" { default = yes; self_scan = yes; } }
metric "default" { actions { reject = 15; add_header = 6; greylist = 4; } group "own" {
  symbol "SOFT" { weight = 1; } symbol "MARK" { weight = 7; } symbol "LOOKED" { weight = 0.1; } symbol "OWN_VIRUS" { weight = 1; } symbol "SWALLOW" { weight = 1; } } }
lua = "%[1]s/rules.lua";
`, dir, normal, proxy))
	write(t, filepath.Join(dir, "rules.lua"), `
local function on(name, word, f)
  rspamd_config:register_symbol({ name = name, type = 'normal', callback = function(task)
    if tostring(task:get_header('X-Test') or '') == word then if f then f(task) end return true, 1.0 end
    return false end })
end
on('SOFT', 'soft', function(task) task:set_pre_result('soft reject', 'Come again later') end)
on('OWN_VIRUS', 'virus', function(task) task:set_pre_result('reject', 'Virus\r\nfound for x@y.example') end)
on('SWALLOW', 'swallow', function(task) task:set_milter_reply({ reject = 'discard' }) end)
on('MARK', 'mark')
rspamd_config:register_symbol({ name = 'LOOKED', type = 'normal', callback = function(task)
  return tostring(task:get_header('X-Test') or '') ~= 'unlooked', 1.0 end })
`)
	start(t, rspamd, "-f", "-i", "-c", filepath.Join(dir, "rspamd.conf"))
	set := await(t, map[string]Config{"spam": config(func(k *Config) {
		k.Rspamd, k.RequireSymbols, k.Timeout = "http://127.0.0.1:"+normal, []string{"LOOKED"}, 10*time.Second
	})})
	if got := trials(t, set); got["gtube"]+got["clean"] != "" || got["largest"] == "" {
		t.Errorf("examination: %q", got)
	}
	marked := func(word string) *Message {
		m := message("hello\r\n")
		m.Content.Head = []byte("From: a@example.org\r\nSubject: x\r\nX-Test: " + word + "\r\n\r\n")
		return m
	}
	for _, m := range []struct {
		name string
		m    *Message
		want Class
	}{
		{"clean", marked("none"), Clean},
		{"GTUBE", message(gtube() + "\r\n"), Spam},
		{"soft reject", marked("soft"), Later},
		{"would be marked", marked("mark"), Suspicious},
		{"virus", marked("virus"), Virus},
		{"would be discarded", marked("swallow"), Spam},
		{"required symbol is missing", marked("unlooked"), Fault},
		{"over max_message", message(strings.Repeat("0123456789abcd\r\n", 200_000)), Fault},
		{"empty body", message(""), Clean},
	} {
		v := only(t, set, m.m)
		if v.Class != m.want {
			t.Errorf("%s: %s %q %v %v, want %s", m.name, v.Class, v.Text, v.Symbols, v.Err, m.want)
		}
		if strings.ContainsAny(v.Text, "@\r\n") {
			t.Errorf("%s: text %q", m.name, v.Text)
		}
	}
	milter := await(t, map[string]Config{"m": config(func(k *Config) {
		k.Milter, k.CanaryFinds, k.Timeout = "inet:127.0.0.1:"+proxy, "gtube", 10*time.Second
	})})
	if v := only(t, milter, message(gtube()+"\r\n")); v.Class != Policy || v.Choice != Refuse {
		t.Errorf("milter, GTUBE: %+v", v)
	}
	if v := only(t, milter, marked("none")); v.Class != Clean {
		t.Errorf("milter, clean: %+v", v)
	}
}

func TestRealOpenDKIM(t *testing.T) {
	opendkim := program(t, "opendkim", "opendkim")
	dir, port := folder(t), freePort(t)
	write(t, filepath.Join(dir, "conf"), fmt.Sprintf("Socket inet:%s@127.0.0.1\nMode v\nSyslog no\nPidFile %s/pid\nUserID 0\nAlwaysAddARHeader yes\nAuthservID relay.example\nInternalHosts %[2]s/internal\nNameservers 127.0.0.1\nDNSTimeout 1\n", port, dir))
	write(t, filepath.Join(dir, "internal"), "10.9.9.9\n")
	start(t, opendkim, "-f", "-x", filepath.Join(dir, "conf"))
	set := await(t, map[string]Config{"dkim": config(func(k *Config) {
		k.Milter, k.AcceptHeaders, k.Timeout = "inet:127.0.0.1:"+port, []string{"X-Other"}, 10*time.Second
	})})
	if v := only(t, set, message("hello\r\n")); v.Class != Clean || len(v.Fields) != 0 {
		t.Errorf("%+v %v", v, v.Err)
	}
	if set.States()[0].Proven {
		t.Error("its yes is called proven, though it found nothing")
	}
}
