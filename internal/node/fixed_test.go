package node

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/config"
)

// TestDocsListTheKeysThatNeedARestart: the page has the table of the code.
func TestDocsListTheKeysThatNeedARestart(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "These need a\nrestart")
	list, _, ended := strings.Cut(text, " `relay status`")
	if !found || !ended {
		t.Fatal("the page has no list of keys that need a restart")
	}
	var onPage, inCode []string
	for _, m := range regexp.MustCompile("`\\[?([a-z_.]+)\\]?`").FindAllStringSubmatch(list, -1) {
		onPage = append(onPage, m[1])
	}
	for _, k := range fixedKeys() {
		inCode = append(inCode, k.key)
	}
	slices.Sort(onPage)
	slices.Sort(inCode)
	if !slices.Equal(onPage, inCode) {
		t.Errorf("page %q\ncode %q", onPage, inCode)
	}
}

// TestFixedKeysAreOfTheConfiguration: each names a key or table, and its value
// is that one's.
func TestFixedKeysAreOfTheConfiguration(t *testing.T) {
	for _, k := range fixedKeys() {
		typ := reflect.TypeFor[config.File]()
		for name := range strings.SplitSeq(k.key, ".") {
			i := slices.IndexFunc(reflect.VisibleFields(typ), func(f reflect.StructField) bool { return f.Tag.Get("toml") == name })
			if i < 0 {
				t.Fatalf("the configuration has no key %s", k.key)
			}
			typ = reflect.VisibleFields(typ)[i].Type
		}
		if got := reflect.TypeOf(k.value(&config.File{})); got != typ && got.Kind() != reflect.Bool {
			t.Errorf("%s has type %v, its value %v", k.key, typ, got)
		}
	}
}
