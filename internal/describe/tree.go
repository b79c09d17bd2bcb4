package describe

import (
	"encoding"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/text"
)

// hidden stands for what is secret.
const hidden = "***"

// isSecretKey finds the keys whose values are secret. A file or a variable that holds a
// secret is none.
var isSecretKey = regexp.MustCompile(`(^|_)(password|passphrase|secret|token|webhook|key|hash)$`)

// Tree is a configuration as its file could have it, defaults included: tables as maps,
// durations and the like as text. Secrets are hidden, also those in URLs.
func Tree(f *config.File) map[string]any {
	return tree(reflect.ValueOf(f).Elem())
}

func tree(v reflect.Value) map[string]any {
	m := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("toml")
		switch {
		case !f.IsExported() || key == "-":
		case f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct:
			for k, value := range tree(v.Field(i)) {
				m[k] = value
			}
		case key != "":
			m[key] = leaf(key, v.Field(i))
		}
	}
	return m
}

func leaf(key string, v reflect.Value) any {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return text.FormatDuration(d)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return clean(key, string(b))
		}
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() != reflect.Slice && v.Kind() != reflect.Map {
		return clean(key, s.String())
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return leaf(key, v.Elem())
	case reflect.Struct:
		return tree(v)
	case reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			name := fmt.Sprint(it.Key().Interface())
			m[name] = leaf(key, it.Value())
		}
		return m
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = leaf(key, v.Index(i))
		}
		return list
	case reflect.String:
		return clean(key, v.String())
	}
	return v.Interface()
}

// clean hides a value that is secret, or a part of it.
func clean(key, value string) string {
	if value == "" {
		return ""
	}
	if isSecretKey.MatchString(key) && !isPath(key) {
		return hidden
	}
	if !strings.Contains(value, "://") {
		return value
	}
	u, err := url.Parse(value)
	if err != nil {
		return hidden
	}
	if u.User != nil {
		u.User = url.User("xxx")
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxx"
	}
	return u.String()
}

// isPath tells the keys that name the file of a private key from those that are one.
func isPath(key string) bool { return key == "key" }
