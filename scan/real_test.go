package scan

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/scantest"
)

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
			socket := scantest.StartClamd(t, c.settings).Socket
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
	cicap := scantest.Program(t, "c-icap", "c-icap and libc-icap-mod-virus-scan")
	socket := scantest.StartClamd(t, "").Socket
	// Where clamd is away when c-icap starts, c-icap calls everything clean.
	await(t, map[string]Config{"av": config(func(k *Config) { k.Clamd = "unix:" + socket })})
	dir, port := scantest.Folder(t), scantest.FreePort(t)
	scantest.Write(t, filepath.Join(dir, "clamd_mod.conf"), "Module common clamd_mod.so\nclamd_mod.ClamdSocket "+socket+"\n")
	scantest.Write(t, filepath.Join(dir, "virus_scan.conf"), "Service antivirus_module virus_scan.so\nServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple\n"+
		"virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE\nvirus_scan.MaxObjectSize 5M\nvirus_scan.DefaultEngine clamd\nvirus_scan.SendPercentData 5\nvirus_scan.StartSendPercentDataAfter 2M\nvirus_scan.Allow204Responces on\n")
	scantest.Write(t, filepath.Join(dir, "c-icap.conf"), fmt.Sprintf(`PidFile %[1]s/pid
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
	scantest.Run(t, cicap, "-N", "-f", filepath.Join(dir, "c-icap.conf"))
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
	r := scantest.StartRspamd(t, `symbol "SOFT" { weight = 1; } symbol "MARK" { weight = 7; } symbol "LOOKED" { weight = 0.1; } symbol "OWN_VIRUS" { weight = 1; } symbol "SWALLOW" { weight = 1; }`, `
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
	normal, proxy := r.Normal, r.Proxy
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
	local := await(t, map[string]Config{"spam": config(func(k *Config) { k.Rspamd, k.Timeout = "unix:"+r.Socket, 10*time.Second })})
	if v := only(t, local, message(gtube()+"\r\n")); v.Class != Spam {
		t.Errorf("by its socket, GTUBE: %+v", v)
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
	opendkim := scantest.Program(t, "opendkim", "opendkim")
	dir, port := scantest.Folder(t), scantest.FreePort(t)
	scantest.Write(t, filepath.Join(dir, "conf"), fmt.Sprintf("Socket inet:%s@127.0.0.1\nMode v\nSyslog no\nPidFile %s/pid\nUserID 0\nAlwaysAddARHeader yes\nAuthservID relay.example\nInternalHosts %[2]s/internal\nNameservers 127.0.0.1\nDNSTimeout 1\n", port, dir))
	scantest.Write(t, filepath.Join(dir, "internal"), "10.9.9.9\n")
	scantest.Run(t, opendkim, "-f", "-x", filepath.Join(dir, "conf"))
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
