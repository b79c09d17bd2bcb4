package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestExampleLoadsWithoutAWarning(t *testing.T) {
	f, warnings, err := Load("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Error(w)
	}
	if f.Listener["local"].Address.String() != "127.0.0.1:2525" || !filepath.IsAbs(f.Upstream["capture"].Capture) {
		t.Errorf("got %+v", f)
	}
}

// uncommented takes the "#" away from each key and table of the example that
// has one; example tells the lines whose value is not the default.
func uncommented(t *testing.T) (text string, was, example map[int]bool) {
	t.Helper()
	b, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	was, example = map[int]bool{}, map[int]bool{}
	key := regexp.MustCompile(`^# ([a-z_0-9]+ = |\[)`)
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if key.MatchString(line) && !strings.Contains(line, `"# key = value"`) {
			was[i+1], example[i+1] = true, strings.Contains(line, "(example)")
			lines[i] = line[2:]
		}
	}
	return strings.Join(lines, "\n"), was, example
}

// TestExampleHoldsEveryKey reads the example with every line uncommented: each
// key of the structs is there, and commented values are the defaults.
func TestExampleHoldsEveryKey(t *testing.T) {
	text, was, example := uncommented(t)
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "secrets/provider"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDecoder(newSource("config.example.toml", []byte(text)), folder, os.Getenv)
	var f File
	d.decodeFile(&f)
	for _, p := range d.problems {
		t.Error(p)
	}
	root, _ := build(d.src, func(int, string, string) {}, func(string) {})
	found, lines := map[string]bool{}, strings.Split(text, "\n")
	visit := func(at int, path string, v, def reflect.Value, form string) {
		found[path] = true
		line := d.src.line(at)
		if strings.HasPrefix(lines[line-1], "[") || strings.HasSuffix(path, ".password") {
			return // a table; the password came from its file
		}
		if was[line] && !example[line] && (written(v, form) != written(def, form) || v.Kind() == reflect.Map && v.Len() > 0) {
			t.Errorf("line %d: %s = %s, but the default is %s", line, path, written(v, form), written(def, form))
		}
	}
	walk(root, reflect.ValueOf(&f).Elem(), "", d.folder, visit)
	eachKey(reflect.TypeFor[File](), "", func(table string, field field) {
		if path := join(table, field.name); !found[path] {
			t.Errorf("the example has no %s", path)
		}
	})
}

// walk visits every key of a tree with its value and its default.
func walk(n *node, v reflect.Value, path, folder string, visit func(at int, path string, v, def reflect.Value, form string)) {
	def := reflect.New(v.Type()).Elem()
	setDefaults(def)
	for _, f := range fieldsOf(v.Type()) {
		item := n.items[f.name]
		if item == nil {
			continue
		}
		at := join(path, f.name)
		fv := v.FieldByIndex(f.index)
		if f.form == "path" && fv.Kind() == reflect.String { // paths are absolute by now
			rel := reflect.New(fv.Type()).Elem()
			rel.SetString(strings.TrimPrefix(fv.String(), folder+"/"))
			visit(item.at, at, rel, def.FieldByIndex(f.index), f.form)
			continue
		}
		visit(item.at, at, fv, def.FieldByIndex(f.index), f.form)
		walkInto(item, fv, at, folder, visit)
	}
}

func walkInto(n *node, v reflect.Value, path, folder string, visit func(at int, path string, v, def reflect.Value, form string)) {
	switch v.Kind() {
	case reflect.Pointer:
		walkInto(n, v.Elem(), path, folder, visit)
	case reflect.Struct:
		if !isScalar(v.Type()) {
			walk(n, v, path, folder, visit)
		}
	case reflect.Map:
		for name, item := range n.items {
			walkInto(item, v.MapIndex(reflect.ValueOf(name)), join(path, "NAME"), folder, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if n.kind == isList {
				walkInto(n.list[i], v.Index(i), path, folder, visit)
			}
		}
	}
}

// TestExampleSaysWhatEachKeyIs: a key without a comment is no documentation.
func TestExampleSaysWhatEachKeyIs(t *testing.T) {
	text, _, _ := uncommented(t)
	said := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		key, rest, ok := strings.Cut(line, "= ")
		key = strings.TrimSpace(key)
		if ok && !strings.ContainsAny(key, " {#[") && strings.Contains(rest, "# ") {
			said[key] = true
		}
	}
	for _, key := range []string{"keys", "messages", "selector", "file", "type", "certificate", "key", "observe", "allow_weak"} {
		said[key] = true
	}
	eachKey(reflect.TypeFor[File](), "", func(table string, f field) {
		leaf := f.typ.Kind() != reflect.Map && f.typ.Kind() != reflect.Struct && f.typ.Kind() != reflect.Pointer
		if leaf && !said[f.name] {
			t.Errorf("%s has no words beside it", join(table, f.name))
		}
	})
}

func TestExamplesUnderTheirFolderLoad(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.toml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			certificate(t, filepath.Join(folder, "relay"), "relay.example.org")
			dkimKeys(t, folder)
			if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			text := regexp.MustCompile(`"[^"]*/([^"/]+\.(pem|crt|key))"`).ReplaceAllString(string(b), `"$1"`)
			text = regexp.MustCompile(`password_file = "[^"]*"`).ReplaceAllString(text, `password_file = "secret"`)
			path := filepath.Join(folder, "relay.toml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l := loader{getenv: func(string) string { return "secret" }, addresses: noAddresses}
			_, warnings, err := l.load(path)
			if err != nil {
				t.Error(err)
			}
			for _, w := range warnings {
				if !strings.Contains(w.Text, "no interface of this machine") && w.Key != "admin.address" {
					t.Error(w)
				}
			}
		})
	}
}

// TestConfigNotesNameOnlyKeysThatExist: docs must not promise other keys.
func TestDocsNameOnlyKeysThatExist(t *testing.T) {
	known := []string{}
	eachKey(reflect.TypeFor[File](), "", func(_ string, f field) { known = append(known, f.name) })
	files, _ := filepath.Glob("../../docs/*.md")
	assign := regexp.MustCompile("(?m)^([a-z_]+) += ")
	for _, file := range append(files, "../../README.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for block := range strings.SplitSeq(string(b), "```toml\n") {
			text, _, ok := strings.Cut(block, "\n```")
			if !ok || strings.HasPrefix(string(b), block) {
				continue
			}
			for _, m := range assign.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(known, m[1]) {
					t.Errorf("%s: %s is no key", file, strconv.Quote(m[1]))
				}
			}
		}
	}
}
