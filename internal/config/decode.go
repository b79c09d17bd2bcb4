package config

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/ratelimit"
)

type defaulter interface{ SetDefaults() }

type checker interface {
	Check(report func(key, problem string))
}

// profiled is a table whose key profile changes its defaults.
type profiled interface{ UseProfile(name string) error }

// check is a table that has been decoded and not yet been checked.
type check struct {
	path string
	c    checker
}

// decoder turns one file into structs and gathers what is wrong with it.
type decoder struct {
	src      *source
	folder   string // of the file; relative paths start here
	getenv   func(string) string
	problems []Problem
	warnings []Problem
	more     int             // problems that are counted only
	bad      map[string]bool // key paths that have a problem already
	around   map[string]bool // the tables around these
	checks   []check
	fields   map[reflect.Type][]field
	root     reflect.Type // the outermost struct, where a misplaced key may belong
	broken   int          // lines that could not be read
	beside   beside
}

func newDecoder(src *source, folder string, getenv func(string) string) *decoder {
	return &decoder{src: src, folder: folder, getenv: getenv, bad: map[string]bool{}, around: map[string]bool{},
		fields: map[reflect.Type][]field{}}
}

// decodeFile reads the whole file into the struct that into points to.
func (d *decoder) decodeFile(into any) {
	root, broken := build(d.src,
		func(at int, key, problem string) { d.fault(at, key, "%s", problem) },
		d.spoil)
	d.broken = broken
	v := reflect.ValueOf(into).Elem()
	d.root = v.Type()
	d.table(root, v, "")
}

// check runs the checks of every table that was decoded.
func (d *decoder) check() {
	for _, c := range d.checks {
		c.c.Check(func(key, problem string) { d.problem(d.within(c.path, key), problem) })
	}
}

func (d *decoder) within(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}

// fault notes a problem at an octet of the file.
func (d *decoder) fault(at int, path, format string, args ...any) {
	d.spoil(path)
	if d.tooMany() {
		d.more++
		return
	}
	d.problems = append(d.problems, d.src.problem(at, path, fmt.Sprintf(format, args...)))
}

// spoil notes that the key at path has a problem.
func (d *decoder) spoil(path string) {
	d.bad[path] = true
	for p := parent(path); p != "" && !d.around[p]; p = parent(p) {
		d.around[p] = true
	}
}

// maxGathered is how many problems, and how many warnings, are kept to be put
// in order; of those behind them only the number is told.
const maxGathered = 50 * maxProblems

// tooMany reports whether further problems are counted only. Whoever has to
// search for the words of one asks before.
func (d *decoder) tooMany() bool { return len(d.problems) >= maxGathered }

// problem notes what a check found about the key at path, unless that key, a
// table around it or a key in it could not be decoded anyway.
func (d *decoder) problem(path, text string) {
	for p := path; p != ""; p = parent(p) {
		if d.bad[p] {
			return
		}
	}
	if d.around[path] {
		return
	}
	if d.tooMany() {
		d.more++
		return
	}
	d.problems = append(d.problems, d.src.problem(d.src.place(path), path, text))
}

// joined notes the problems of a package that joins them in one error, each
// line "key: problem; fix".
func (d *decoder) joined(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		path, problem, _ := strings.Cut(line, ": ")
		d.problem(path, problem)
	}
}

// warn notes something doubtful about the key at path.
func (d *decoder) warn(path, text string) {
	if len(d.warnings) < maxGathered {
		d.warnings = append(d.warnings, d.src.problem(d.src.place(path), path, text))
	}
}

// field is one key of a struct.
type field struct {
	name, form string
	index      []int
	typ        reflect.Type
}

// fieldsOf lists the keys of a struct; embedded structs lend theirs.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("toml")
		switch {
		case name == "-" || !sf.IsExported():
		case isEmbedded(sf):
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				fs = append(fs, f)
			}
		case name != "":
			fs = append(fs, field{name, sf.Tag.Get("form"), []int{i}, sf.Type})
		}
	}
	return fs
}

// fieldsOf is the function of that name, which is slow, asked once for a type.
func (d *decoder) fieldsOf(t reflect.Type) []field {
	fs, ok := d.fields[t]
	if !ok {
		fs = fieldsOf(t)
		d.fields[t] = fs
	}
	return fs
}

func isEmbedded(f reflect.StructField) bool {
	return f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("toml") == ""
}

// table fills the struct v, which must be addressable, from t; with t nil the
// file has no such table and v gets its defaults.
func (d *decoder) table(t *node, v reflect.Value, path string) {
	setDefaults(v)
	fields := d.fieldsOf(v.Type())
	if t != nil {
		d.unknown(t, fields, v.Type(), path)
		d.profile(t.items["profile"], v, path)
	}
	for _, f := range fields {
		var n *node
		if t != nil {
			n = t.items[f.name]
		}
		at := join(path, f.name)
		switch {
		case n != nil:
			d.value(n, v.FieldByIndex(f.index), at, f.form)
		case f.typ.Kind() == reflect.Struct && !isScalar(f.typ):
			d.table(nil, v.FieldByIndex(f.index), at)
		}
		if f.form == "path" {
			d.absolute(v.FieldByIndex(f.index))
		}
	}
	d.secret(v, fields, path)
	d.remember(v, path)
}

// profile changes the defaults of v by the profile that n names; nil names none.
func (d *decoder) profile(n *node, v reflect.Value, path string) {
	p, ok := v.Addr().Interface().(profiled)
	if !ok || n == nil || n.kind != isText {
		return
	}
	if err := p.UseProfile(n.text); err != nil {
		d.fault(n.at, join(path, "profile"), "%v", err)
	}
}

// remember notes the checks of v and of the structs embedded in it.
func (d *decoder) remember(v reflect.Value, path string) {
	for i := range v.NumField() {
		if isEmbedded(v.Type().Field(i)) {
			d.remember(v.Field(i), path)
		}
	}
	if c, ok := v.Addr().Interface().(checker); ok {
		d.checks = append(d.checks, check{path, c})
	}
}

// setDefaults calls SetDefaults of v and of the structs embedded in it that
// have keys of their own.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		if isEmbedded(v.Type().Field(i)) {
			setDefaults(v.Field(i))
		}
	}
	if c, ok := v.Addr().Interface().(defaulter); ok {
		c.SetDefaults()
	}
}

// key is a key of a table.
type key struct {
	table reflect.Type
	name  string
}

// retired are keys of the release before. They do nothing, and become unknown
// keys with the next release.
var retired = map[key]string{
	{reflect.TypeFor[ratelimit.RuleConfig](), "fold_case"}: "does nothing any more, for the case of a sender never counts; remove it",
}

func (d *decoder) unknown(t *node, fields []field, in reflect.Type, path string) {
	for _, name := range t.names {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			at := join(path, name)
			if why := retired[key{in, name}]; why != "" {
				d.warn(at, why)
				continue
			}
			fix := ""
			if !d.tooMany() {
				fix = d.suggest(name, t.items[name], fields, path)
			}
			d.fault(d.src.place(at), at, "unknown key; %s", fix)
		}
	}
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	addrType     = reflect.TypeFor[netip.Addr]()
	addrPortType = reflect.TypeFor[netip.AddrPort]()
)

// isScalar reports whether a struct type is written as one text.
func isScalar(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(textType) && len(fieldsOf(t)) == 0
}

// value decodes n into v.
func (d *decoder) value(n *node, v reflect.Value, path, form string) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		d.value(n, v.Elem(), path, form)
		return
	}
	if reflect.PointerTo(t).Implements(textType) && !(n.kind == isList && t.Kind() == reflect.Slice) &&
		!(n.kind == isTable && !isScalar(t)) {
		d.text(n, v, path)
		return
	}
	switch {
	case t == durationType:
		d.duration(n, v, path)
	case t.Kind() == reflect.Struct:
		if d.wants(n, isTable, path, "a table; write [%s] and its keys below it", path) {
			d.table(n, v, path)
		}
	case t.Kind() == reflect.Map:
		if d.wants(n, isTable, path, "a table; write [%s.NAME] or { ... }", path) {
			d.tables(n, v, path, form)
		}
	case t.Kind() == reflect.Slice:
		if d.wants(n, isList, path, "a list; put the value in brackets, as [%s]", asWritten(n, path)) {
			d.list(n, v, path, form)
		}
	default:
		d.scalar(n, v, path, form)
	}
}

// wants reports a value of another kind.
func (d *decoder) wants(n *node, k kind, path, format string, args ...any) bool {
	if n.kind == k {
		return true
	}
	d.fault(n.at, path, "is %s, not %s", kindName(n), fmt.Sprintf(format, args...))
	return false
}

func kindName(n *node) string {
	return [...]string{"text", "a whole number", "a number with a point", "true or false", "a date", "a list", "a table"}[n.kind]
}

// asWritten repeats a short value for use in a remedy.
func asWritten(n *node, path string) string {
	if n.kind < isList && n.kind != isText && !isSecret(path) {
		return n.text
	}
	return quoted(n, path)
}

// isSecret reports whether a value must not be shown: problems go to logs.
func isSecret(path string) bool { return lastName(path) == "password" }

// quoted is what a value would be as text.
func quoted(n *node, path string) string {
	if n.kind < isList && len(n.text) < 60 && !isSecret(path) {
		return strconv.Quote(n.text)
	}
	return `"..."`
}

func (d *decoder) list(n *node, v reflect.Value, path, form string) {
	out := reflect.MakeSlice(v.Type(), len(n.list), len(n.list))
	for i, item := range n.list {
		if item.kind == isText && strings.TrimSpace(item.text) == "" {
			d.fault(item.at, join(path, strconv.Itoa(i)), "is blank; write a value or leave it out")
			continue
		}
		d.value(item, out.Index(i), join(path, strconv.Itoa(i)), form)
	}
	v.Set(out)
}

// tables decodes a table whose keys are names that the operator chose.
func (d *decoder) tables(n *node, v reflect.Value, path, form string) {
	out := reflect.MakeMapWithSize(v.Type(), len(n.names))
	for _, name := range n.names {
		key := reflect.New(v.Type().Key()).Elem()
		at := join(path, name)
		d.value(&node{kind: isText, at: d.src.place(at), text: name}, key, at, "")
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(n.items[name], item, at, form)
		out.SetMapIndex(key, item)
	}
	v.Set(out)
}

// text decodes a type that reads itself.
func (d *decoder) text(n *node, v reflect.Value, path string) {
	if !d.wants(n, isText, path, "text; put it in quotes, as %s", quoted(n, path)) {
		return
	}
	var err error
	switch v.Type() {
	case prefixType, addrType, addrPortType:
		err = d.network(n.text, v)
	default:
		err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text))
	}
	if err != nil {
		d.fault(n.at, path, "%v", err)
	}
}

// network decodes the types of netip with remedies that fit a configuration.
// A blank address is a missing one; a blank network is an error.
func (d *decoder) network(s string, v reflect.Value) error {
	switch p := v.Addr().Interface().(type) {
	case *netip.Prefix:
		var err error
		*p, err = parsePrefix(s)
		return err
	case *netip.Addr:
		if s == "" {
			return nil
		}
		a, err := parseAddr(s)
		*p = a
		return err
	case *netip.AddrPort:
		if s == "" {
			return nil
		}
		a, err := parseAddrPort(s)
		*p = a
		return err
	}
	return nil
}

func (d *decoder) duration(n *node, v reflect.Value, path string) {
	if n.kind == isInteger || n.kind == isFloat {
		d.fault(n.at, path, `is a bare number; use a duration such as "30s"`)
		return
	}
	if !d.wants(n, isText, path, `a duration; write one such as "90s", "10m", "1h" or "7d"`) {
		return
	}
	t, err := text.ParseDuration(n.text)
	if err != nil {
		d.fault(n.at, path, "%v", err)
		return
	}
	v.SetInt(int64(t))
}

func (d *decoder) scalar(n *node, v reflect.Value, path, form string) {
	switch v.Kind() {
	case reflect.String:
		if d.wants(n, isText, path, "text; put it in quotes, as %s", quoted(n, path)) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if d.wants(n, isBool, path, "a switch; write true or false, without quotes") {
			v.SetBool(n.text == "true")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.number(n, v, path, form)
	case reflect.Float64, reflect.Float32:
		d.float(n, v, path)
	default:
		panic(fmt.Sprintf("config: no form for type %s at %s", v.Type(), path))
	}
}

func (d *decoder) number(n *node, v reflect.Value, path, form string) {
	if form == "size" {
		d.size(n, v, path)
		return
	}
	if !d.wants(n, isInteger, path, "a whole number; write it without quotes, as 100") {
		return
	}
	i, err := integer(n.text, v.Type().Bits())
	if err != nil {
		d.fault(n.at, path, "%v", err)
		return
	}
	v.SetInt(i)
}

func (d *decoder) size(n *node, v reflect.Value, path string) {
	if n.kind == isInteger || n.kind == isFloat {
		d.fault(n.at, path, `is a bare number; use a size such as "25MiB"`)
		return
	}
	if !d.wants(n, isText, path, `a size; write one such as "25MiB", "10KB" or "512B"`) {
		return
	}
	i, err := text.ParseSize(n.text)
	if err != nil {
		d.fault(n.at, path, "%v", err)
		return
	}
	v.SetInt(i)
}

func (d *decoder) float(n *node, v reflect.Value, path string) {
	if n.kind != isInteger && !d.wants(n, isFloat, path, "a number; write it without quotes, as 1.5") {
		return
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.fault(n.at, path, "is no number to reckon with; write one, as 1.5")
		return
	}
	v.SetFloat(f)
}
