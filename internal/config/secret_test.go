package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// passwordTables are all tables that take a password from a file or a variable.
func passwordTables() (paths []string) {
	eachKey(reflect.TypeFor[File](), "", func(path string, f field) {
		if f.name == "password_file" {
			paths = append(paths, path)
		}
	})
	return paths
}

// valueAt is the text of a key in a decoded file.
func valueAt(v reflect.Value, path, key string) string {
	for _, name := range append(strings.Split(path, "."), key) {
		if v.Kind() == reflect.Map {
			v = v.MapIndex(reflect.ValueOf(name))
			continue
		}
		for _, f := range fieldsOf(v.Type()) {
			if f.name == name {
				v = v.FieldByIndex(f.index)
				break
			}
		}
	}
	return v.String()
}

// TestPasswordsAreReadAlikeInAllTables: what editors and shells add to a
// password makes no difference, and what cannot be meant is refused, whichever
// table asks and whichever way it comes.
func TestPasswordsAreReadAlikeInAllTables(t *testing.T) {
	tables := passwordTables()
	if len(tables) < 3 {
		t.Fatalf("tables with a password: %q", tables)
	}
	for _, row := range []struct{ name, text, want, says string }{
		{"plain", "s3cret", "s3cret", ""},
		{"line end", "s3cret\n", "s3cret", ""},
		{"line end of Windows", "s3cret\r\n", "s3cret", ""},
		{"byte order mark", "\xef\xbb\xbfs3cret\n", "s3cret", ""},
		{"spaces", " s3cret ", " s3cret ", ""},
		{"second line", "s3cret\nolder\n", "", "second line"},
		{"blank", "\n", "", "blank"},
		{"control character", "s3\x00cret", "", "control character"},
	} {
		for _, table := range tables {
			for _, key := range []string{"password_file", "password_env"} {
				folder := t.TempDir()
				if err := os.WriteFile(filepath.Join(folder, "secret"), []byte(row.text), 0o400); err != nil {
					t.Fatal(err)
				}
				src := newSource("test.toml", []byte("["+table+"]\n"+key+" = \"secret\"\n"))
				d := newDecoder(src, folder, func(string) string { return row.text })
				var f File
				d.decodeFile(&f)
				got, problems := valueAt(reflect.ValueOf(f), table, "password"), told(d.problems)
				if got != row.want || !strings.Contains(problems, row.says) || (problems == "") != (row.says == "") {
					t.Errorf("%s, [%s] %s: %q, problems %q; want %q, %q", row.name, table, key, got, problems, row.want, row.says)
				}
				if strings.Contains(problems, "s3") || strings.Contains(problems, "older") {
					t.Errorf("%s: a problem tells the password: %s", row.name, problems)
				}
			}
		}
	}
}

// TestKeysAndSecretsOfAGroupOfOurs: what Kubernetes mounts with fsGroup is
// taken for every key that names a secret file, what others can read for none.
func TestKeysAndSecretsOfAGroupOfOurs(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, "secret")
	if err := os.WriteFile(name, []byte("s3cret\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		mode  os.FileMode
		taken bool
	}{{0o440, true}, {0o640, true}, {0o644, false}, {0o660, false}} {
		if err := os.Chmod(name, row.mode); err != nil {
			t.Fatal(err)
		}
		x := crossCheck{File: &File{}, d: newDecoder(newSource("test.toml", nil), folder, os.Getenv)}
		for _, table := range passwordTables() {
			d := newDecoder(newSource("test.toml", []byte("["+table+"]\npassword_file = \"secret\"\n")), folder, os.Getenv)
			d.decodeFile(&File{})
			if (len(d.problems) == 0) != row.taken {
				t.Errorf("[%s] with mode %04o: %s", table, row.mode, told(d.problems))
			}
		}
		x.zoneKey("reputation.dnsbl.key_file", name)
		x.certificate("listener.a", "/dev/null", name)
		open := strings.Count(told(x.d.problems), "has mode")
		if open > 0 == row.taken {
			t.Errorf("key_file and a TLS key with mode %04o: %s", row.mode, told(x.d.problems))
		}
	}
}

// TestACheckByAnotherUserWarnsOfAGroupsFile: root looks at what the relay's
// group can read, and is not in that group.
func TestACheckByAnotherUserWarnsOfAGroupsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("s3cret\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(name, -1, 54_321); err != nil { // a group that nobody is in
		t.Fatal(err)
	}
	for _, row := range []struct {
		beside             beside
		problems, warnings int
	}{{needed, 1, 0}, {looked, 0, 1}, {leftAlone, 0, 0}} {
		d := newDecoder(newSource("test.toml", []byte("[redis]\npassword_file = '"+name+"'\n")), "/", os.Getenv)
		d.beside = row.beside
		d.decodeFile(&File{})
		if len(d.problems) != row.problems || len(d.warnings) != row.warnings {
			t.Errorf("%v: problems %q, warnings %q", row, told(d.problems), told(d.warnings))
		}
	}
}
