package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggest says what an unknown key may have been meant for.
func (d *decoder) suggest(name string, n *node, fields []field, path string) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s", join("", near))
	}
	if n != nil && n.kind == isTable && n.origin != inlined && strings.Contains(path, ".") {
		return fmt.Sprintf("a name with dots needs quotes, as [%s.%q]", parent(path), lastName(path)+"."+name)
	}
	if homes := d.homes(name); len(homes) == 1 {
		return fmt.Sprintf("it belongs in [%s]", homes[0])
	}
	slices.Sort(names)
	if len(names) > 12 {
		return "config.example.toml lists every key"
	}
	return "known here: " + strings.Join(names, ", ")
}

func lastName(path string) string {
	return strings.Trim(path[len(parent(path)):], `."`)
}

// homes are the tables that have a key of that name.
func (d *decoder) homes(name string) []string {
	var homes []string
	eachKey(d.root, "", func(path string, f field) {
		if f.name == name && path != "" {
			homes = append(homes, path)
		}
	})
	return homes
}

// eachKey visits every key that a struct and the structs in it can have; path
// is the table of the key, NAME standing for names that operators choose.
func eachKey(t reflect.Type, path string, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		visit(path, f)
		inner, at := f.typ, join(path, f.name)
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Map {
				at = join(at, "NAME")
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !isScalar(inner) {
			eachKey(inner, at, visit)
		}
	}
}

// nearest is the name that takes at most two changes to become s, and fewer
// than half its letters; "" when there is none.
func nearest(s string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if dist := distance(strings.ToLower(s), name); dist < least && dist*2 < len(name) {
			best, least = name, dist
		}
	}
	return best
}

// distance counts the letters to insert, drop, replace or swap.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := [3][65]int{}
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, now := &rows[(i+2)%3], &rows[i%3], &rows[(i+1)%3]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
