package api

import (
	"encoding"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/ratelimit"
)

// maxParam is the longest value of a parameter; no address is as long.
const maxParam = 2048

// param is a field of a request that stands in the path or behind the question mark.
type param struct {
	name, in, about string // in: "path", "query"
	index           []int
	typ             reflect.Type
}

// paramsOf lists the fields with a tag query or path; embedded structs lend theirs.
func paramsOf(t reflect.Type) (list []param) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("query") == "-" {
			continue
		}
		if f.Type == reflect.TypeFor[ratelimit.Filter]() {
			list = append(list, filterParams(i)...)
			continue
		}
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			for _, p := range paramsOf(f.Type) {
				p.index = append([]int{i}, p.index...)
				list = append(list, p)
			}
			continue
		}
		for _, in := range [...]string{"query", "path"} {
			if name, ok := f.Tag.Lookup(in); ok {
				list = append(list, param{name, in, f.Tag.Get("doc"), []int{i}, f.Type})
			}
		}
	}
	return list
}

// filterParams are those of a filter of limits, field i of a request: they go by what
// limits can count on.
func filterParams(i int) (list []param) {
	t := reflect.TypeFor[ratelimit.Filter]()
	about := map[string]string{"limit": "Name of the limit."}
	for _, d := range ratelimit.Dimensions() {
		text := strings.ReplaceAll(d.About(), "`", "")
		about[d.String()] = strings.ToUpper(text[:1]) + text[1:] + "."
	}
	for j := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(j).Tag.Get("json"), ",")
		doc := about[name]
		if name == "limit" { // which says how many are wanted
			name = "name"
		}
		list = append(list, param{name, "query", doc, []int{i, j}, t.Field(j).Type})
	}
	return list
}

// readQuery fills in from path and query. What is unknown, twice there or cannot be
// read is a problem.
func readQuery(r *http.Request, in any) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid("the query cannot be read: %v", err)
	}
	v := reflect.ValueOf(in).Elem()
	for _, p := range paramsOf(v.Type()) {
		text, given := r.PathValue(p.name), true
		if p.in == "query" {
			all := values[p.name]
			delete(values, p.name)
			if len(all) > 1 {
				return invalid("%s is given twice", p.name)
			}
			if given = len(all) == 1; given {
				text = all[0]
			}
		}
		if !given {
			continue
		}
		if len(text) > maxParam || !utf8.ValidString(text) {
			return invalid("%s is longer than %d octets, or not UTF-8", p.name, maxParam)
		}
		if err := setParam(v.FieldByIndex(p.index), text); err != nil {
			return invalid("%s: %v", p.name, err)
		}
	}
	for name := range values {
		return invalid("there is no parameter %q here; see %s/openapi.json", name, Root)
	}
	return nil
}

func setParam(v reflect.Value, text string) error {
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		at, err := time.Parse(time.RFC3339, text)
		*t = at
		return err
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return err
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	}
	v.SetString(text)
	return nil
}
