package api

import (
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"

	"postern/internal/access"
	"postern/outlier"
	"postern/ratelimit"
)

// schemas are those of all structs that are sent or taken, by name.
type schemas map[string]any

var (
	marshalsText = reflect.TypeFor[encoding.TextMarshaler]()
	notInName    = regexp.MustCompile(`[^A-Za-z0-9]+`)
)

// enums are the values of the types that have few.
var enums = map[reflect.Type][]any{
	reflect.TypeFor[access.Role]():    {access.View, access.Operate, access.Admin, access.Owner},
	reflect.TypeFor[outlier.Level]():  {outlier.Normal, outlier.Observed, outlier.Braked, outlier.Alerted, outlier.Throttled, outlier.Suspended},
	reflect.TypeFor[ratelimit.Unit](): {"messages", "recipients", "bytes", "distinct_recipients"},
}

// nameOf is the name of a struct: its package and its own, and those of what it holds.
func nameOf(t reflect.Type) string {
	name := t.Name()
	if open := strings.IndexByte(name, '['); open > 0 {
		inner := name[open+1 : len(name)-1]
		return name[:open] + "_" + strings.Trim(notInName.ReplaceAllString(inner[strings.LastIndexByte(inner, '/')+1:], "_"), "_")
	}
	return path.Base(t.PkgPath()) + "_" + name
}

// of is the schema of a type, as encoding/json writes it.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "description": "Nanoseconds."}
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return object{}
	case enums[t] != nil:
		return object{"type": "string", "enum": enums[t]}
	case t.Kind() != reflect.Pointer && (t.Implements(marshalsText) || reflect.PointerTo(t).Implements(marshalsText)):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []any{s.of(t.Elem()), object{"type": "null"}}}
	case reflect.Struct:
		return s.ref(t)
	case reflect.Slice, reflect.Array:
		return object{"type": []any{"array", "null"}, "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": []any{"object", "null"}, "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	}
	return object{"type": "integer"}
}

// ref names a struct, and describes it once.
func (s schemas) ref(t reflect.Type) object {
	name := nameOf(t)
	if _, ok := s[name]; !ok {
		properties, required := object{}, []any{}
		s[name] = object{} // it may hold itself
		s.fields(t, properties, &required)
		one := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			one["required"] = required
		}
		s[name] = one
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// fields adds those of a struct, and of the structs embedded in it; a name that is there
// already is nearer to the outside, and stays.
func (s schemas) fields(t reflect.Type, properties object, required *[]any) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		typ := f.Type
		if f.Anonymous && name == "" {
			if typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			embedded = append(embedded, typ)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, ok := properties[name]; ok {
			continue
		}
		one := s.of(typ)
		if doc := f.Tag.Get("doc"); doc != "" {
			one = object{"description": doc, "allOf": []any{one}}
		}
		properties[name] = one
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
	for _, e := range embedded {
		s.fields(e, properties, required)
	}
}
