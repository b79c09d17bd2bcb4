package secret

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// file makes a file with a mode; gid -1 leaves its group.
func file(t *testing.T, name, text string, mode os.FileMode, gid int) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	if gid >= 0 {
		if err := os.Chown(name, -1, gid); err != nil {
			t.Fatalf("run the tests as root: %v", err)
		}
	}
	return name
}

// strange is a group that no process has.
const strange = 54_321

func TestFilesThatOthersReadAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct {
		name string
		mode os.FileMode
		gid  int
		says string // "" when it is taken
	}{
		{"of the owner alone", 0o600, -1, ""},
		{"read only", 0o400, -1, ""},
		{"as Kubernetes makes it with fsGroup", 0o440, os.Getegid(), ""},
		{"of a group of ours", 0o640, os.Getegid(), ""},
		{"of a group that is not ours", 0o440, strange, "group 54321 can read it"},
		{"that our group can change", 0o660, os.Getegid(), "can change it; run: chmod g-w"},
		{"that all read, as Kubernetes makes it by itself", 0o644, -1, "run: chmod o="},
		{"that all change", 0o602, -1, "run: chmod o="},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := file(t, filepath.Join(dir, strings.ReplaceAll(row.name, " ", "-")), "s3cret", row.mode, row.gid)
			text, err := ReadFile(name)
			switch {
			case row.says == "" && (err != nil || string(text) != "s3cret"):
				t.Errorf("%q, %v", text, err)
			case row.says != "" && (!errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), row.says)):
				t.Errorf("error %v, want %q", err, row.says)
			}
			if errors.Is(err, ErrGroup) != (row.gid == strange) {
				t.Errorf("ErrGroup: %v", err)
			}
			if check := Check(name); (check == nil) != (err == nil) {
				t.Errorf("Check says %v where ReadFile says %v", check, err)
			}
		})
	}
}

// TestSecretsBehindTheLinksOfKubernetes: NAME -> ..data/NAME, ..data -> a
// folder with the time in its name, which an update replaces.
func TestSecretsBehindTheLinksOfKubernetes(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"..2026_01", "..2026_02"} {
		folder := filepath.Join(dir, version)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		file(t, filepath.Join(folder, "password"), version, 0o440, os.Getegid())
	}
	data, name := filepath.Join(dir, "..data"), filepath.Join(dir, "password")
	for _, link := range [][2]string{{"..2026_01", data}, {"..data/password", name}} {
		if err := os.Symlink(link[0], link[1]); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := ReadFile(name); err != nil || string(text) != "..2026_01" {
		t.Fatalf("%q, %v", text, err)
	}
	if err := os.Symlink("..2026_02", data+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(name); err != nil || string(text) != "..2026_02" {
		t.Fatalf("after the update: %q, %v", text, err)
	}
	file(t, filepath.Join(dir, "..2026_02", "password"), "x", 0o444, -1)
	if _, err := ReadFile(name); !errors.Is(err, ErrOpen) {
		t.Errorf("a link hides that others read the file: %v", err)
	}
}

func TestCredentialsOfSystemdAreTaken(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Chmod(dir, 0o550); err != nil {
		t.Fatal(err)
	}
	name := file(t, filepath.Join(dir, "password"), "s3cret", 0o444, strange)
	other := file(t, filepath.Join(outside, "password"), "s3cret", 0o444, -1)
	if _, err := ReadFile(name); err == nil {
		t.Error("without the variable the file is taken")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if text, err := ReadFile(name); err != nil || string(text) != "s3cret" {
		t.Errorf("%q, %v", text, err)
	}
	way := filepath.Join(dir, "..", filepath.Base(outside), "password")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{other, way, link} {
		if _, err := ReadFile(name); err == nil {
			t.Errorf("%s is taken, but lies outside", name)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(name); err == nil {
		t.Error("a folder that all can look into is taken for systemd's")
	}
}

func TestPipesAreReadWithinTheirTime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if text, err := ReadFile(name); err != nil || len(text) > 0 || time.Since(began) > pipeTime {
		t.Errorf("a pipe without a writer: %q, %v after %v", text, err, time.Since(began))
	}
	w, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	began = time.Now()
	if _, err := readFile(name, time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > pipeTime {
		t.Errorf("a pipe whose writer does not end: %v after %v", err, time.Since(began))
	}
	if _, err := ReadFile("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
	if _, err := ReadFile(t.TempDir()); err == nil {
		t.Error("a folder is read")
	}
	large := file(t, filepath.Join(t.TempDir(), "large"), strings.Repeat("x", Max+1), 0o600, -1)
	if _, err := ReadFile(large); err == nil {
		t.Error("a file of any size is read")
	}
}

// acl is a list in the form that the kernel gives.
func acl(entries ...[3]int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, uint32(e[2]))
	}
	return b
}

func TestAccessListsAreReadForWhatTheySay(t *testing.T) {
	info, err := os.Stat(file(t, filepath.Join(t.TempDir(), "x"), "", 0o440, os.Getegid()))
	if err != nil {
		t.Fatal(err)
	}
	relay := process{uid: 990, groups: []int{os.Getegid(), 991}}
	const owner = 0x01
	for _, row := range []struct {
		name string
		list []byte
		says string
	}{
		{"systemd's list for User=", acl([3]int{owner, 4, -1}, [3]int{tagUser, 4, 990}, [3]int{tagGroupObj, 0, -1}, [3]int{tagMask, 4, -1}, [3]int{tagOther, 0, -1}), ""},
		{"a group of ours by name", acl([3]int{owner, 6, -1}, [3]int{tagGroup, 4, 991}, [3]int{tagGroupObj, 4, -1}, [3]int{tagMask, 4, -1}, [3]int{tagOther, 0, -1}), ""},
		{"another user", acl([3]int{tagUser, 4, 1000}, [3]int{tagMask, 4, -1}), "setfacl -x u:1000"},
		{"another user behind a mask that takes it away", acl([3]int{tagUser, 4, 1000}, [3]int{tagMask, 0, -1}), ""},
		{"another group", acl([3]int{tagGroup, 4, 100}, [3]int{tagMask, 7, -1}), "group 100 can read it"},
		{"everybody", acl([3]int{tagOther, 4, -1}), "chmod o="},
		{"damaged", []byte{2, 0, 0, 0, 1}, "chmod o="},
		{"of another version", binary.LittleEndian.AppendUint32(nil, 3), "chmod o="},
	} {
		if p, _ := parseACL(row.list, info).problem(relay); !strings.Contains(p, row.says) || (row.says == "") != (p == "") {
			t.Errorf("%s: %q, want %q", row.name, p, row.says)
		}
	}
}

func TestTextIsThePasswordAndNothingElse(t *testing.T) {
	for _, row := range []struct{ name, in, want, says string }{
		{"plain", "s3cret", "s3cret", ""},
		{"a line end", "s3cret\n", "s3cret", ""},
		{"a line end of Windows", "s3cret\r\n", "s3cret", ""},
		{"several line ends", "s3cret\n\r\n\n", "s3cret", ""},
		{"a byte order mark", "\xef\xbb\xbfs3cret\r\n", "s3cret", ""},
		{"spaces, which may be meant", " s3 cret ", " s3 cret ", ""},
		{"letters beyond ASCII", "pässwörd", "pässwörd", ""},
		{"octets that are no UTF-8", "p\xe4ss", "p\xe4ss", ""},
		{"a second line", "s3cret\nold", "", "second line"},
		{"a second line after a CR", "s3cret\rold", "", "second line"},
		{"a blank first line", "\ns3cret", "", "second line"},
		{"nothing", "", "", "blank"},
		{"a byte order mark alone", "\xef\xbb\xbf\n", "", "blank"},
		{"spaces alone", " \n", "", "blank"},
		{"NUL", "s3\x00cret", "", "control character"},
		{"two byte order marks", "\xef\xbb\xbf\xef\xbb\xbfs3cret", "", "control character"},
		{"UTF-16", "\xff\xfes\x003\x00", "", "UTF-16"},
		{"UTF-16 the other way", "\xfe\xff\x00s", "", "UTF-16"},
	} {
		got, err := Text([]byte(row.in))
		if got != row.want || (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %q, %v; want %q, %q", row.name, got, err, row.want, row.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3") {
			t.Errorf("%s: the error tells the password: %v", row.name, err)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("s3cret\r\n"))
	f.Add([]byte("\xef\xbb\xbfx\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Text(b)
		if err != nil {
			return
		}
		if s == "" || strings.ContainsAny(s, "\r\n\x00") || !strings.Contains(string(b), s) {
			t.Fatalf("%q became %q", b, s)
		}
		if again, err := Text([]byte(s)); err != nil || again != s {
			t.Fatalf("%q is read again as %q, %v", s, again, err)
		}
	})
}

func FuzzParseACL(f *testing.F) {
	f.Add(acl([3]int{tagUser, 4, 990}, [3]int{tagMask, 4, -1}))
	info, err := os.Stat(os.Args[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) { parseACL(b, info).problem(us()) })
}
