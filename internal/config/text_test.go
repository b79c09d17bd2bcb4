package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
)

// written is a value as the file has it.
func written(v reflect.Value, form string) string {
	if v.Type() == durationType {
		return strconv.Quote(text.FormatDuration(time.Duration(v.Int())))
	}
	if isNetworkType(v.Type()) && v.IsZero() {
		return `""`
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && v.Kind() != reflect.Slice {
		b, err := m.MarshalText()
		if err != nil {
			return err.Error()
		}
		return strconv.Quote(string(b))
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = written(v.Index(i), form)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		return "{}"
	case reflect.Int64, reflect.Int:
		if form == "size" {
			return strconv.Quote(text.FormatSize(v.Int()))
		}
		return strconv.FormatInt(v.Int(), 10)
	}
	return fmt.Sprint(v.Interface())
}

func isNetworkType(t reflect.Type) bool {
	return t == prefixType || t == addrType || t == addrPortType
}
