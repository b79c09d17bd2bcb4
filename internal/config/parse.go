package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth of lists and inline tables within one another.
const maxDepth = 16

// kind of a value in the file.
type kind int

const (
	isText kind = iota
	isInteger
	isFloat
	isBool
	isDate
	isList
	isTable
)

// origin says how a table came to be, for TOML's rules on defining it again.
type origin int

const (
	implied  origin = iota // named on the way to another table
	headed                 // [table]
	dotted                 // by a dotted key
	inlined                // { ... }
	repeated               // element of [[table]]
)

// node is one value with its place.
type node struct {
	kind   kind
	at     int    // octet where the value begins; of a table, its name
	text   string // of a scalar: decoded when isText, else as written
	list   []*node
	tables bool // the list was written with [[...]]

	origin origin
	names  []string // of the table's keys, in the order of the file
	items  map[string]*node
}

func newTable(at int, o origin) *node {
	return &node{kind: isTable, at: at, origin: o, items: map[string]*node{}}
}

func (n *node) set(name string, v *node) {
	n.names = append(n.names, name)
	n.items[name] = v
}

// builder makes the tree of a file. It goes on behind a line that it cannot
// read, so that one slip does not hide the next.
type builder struct {
	src     *source
	report  func(at int, key, problem string)
	parser  unstable.Parser
	base    int // offset of the octets that the parser is working on
	end     int // of the last expression that was read
	root    *node
	current *node  // nil behind a header that could not be read
	path    string // of current
	broken  int    // lines that could not be read
	damaged func(path string)
}

// build reads src. Paths with a value that could not be read go to damaged; it
// returns how many lines were unreadable.
func build(src *source, report func(at int, key, problem string), damaged func(path string)) (*node, int) {
	b := &builder{src: src, report: report, damaged: damaged, root: newTable(0, implied)}
	b.current = b.root
	for b.base < len(src.text) {
		b.parser.Reset(src.text[b.base:])
		b.end = b.base
		for b.parser.NextExpression() {
			b.expression(b.parser.Expression())
		}
		if b.parser.Error() == nil {
			break
		}
		b.base = b.skip()
	}
	return b.root, b.broken
}

// skip reports the parser's error and returns where to go on: the line after
// it.
func (b *builder) skip() int {
	text := b.src.text
	at, message := len(text)-1, b.parser.Error().Error()
	var perr *unstable.ParserError
	if errors.As(b.parser.Error(), &perr) && len(perr.Highlight) > 0 {
		at = b.base + int(b.parser.Range(perr.Highlight).Offset)
	}
	start := b.start(at)
	if line := b.src.line(start); line < b.src.line(at) {
		message += fmt.Sprintf(" (what is read here begins on line %d)", line)
	}
	line := firstLine(text[start:])
	path := b.path
	if strings.HasPrefix(line, "[") {
		b.current, b.path, path = nil, "", ""
	} else if key, _, ok := strings.Cut(line, "="); ok && isBareKey(strings.TrimSpace(key)) {
		path = join(path, strings.TrimSpace(key))
		b.damaged(path)
	}
	b.broken++
	b.report(at, path, syntaxProblem(message))
	end := bytes.IndexByte(text[at:], '\n')
	if end < 0 {
		return len(text)
	}
	return at + end + 1
}

// start finds where the expression begins that could not be read; it ends at
// the latest at limit.
func (b *builder) start(limit int) int {
	i := b.end
	if i > b.base { // the rest of the good line holds a comment at most
		i += bytes.IndexByte(b.src.text[i:], '\n') + 1
	}
	for i < limit {
		line := firstLine(b.src.text[i:])
		trimmed := strings.TrimLeft(line, " \t\r")
		if trimmed != "" && trimmed[0] != '#' {
			return min(i+len(line)-len(trimmed), limit)
		}
		i += len(line) + 1
	}
	return limit
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line)
}

// syntaxProblem adds to the parser's words what to do.
func syntaxProblem(message string) string {
	fix := "mend the line"
	switch {
	case strings.Contains(message, "start of value"), strings.Contains(message, "must be quoted"),
		strings.Contains(message, "expected keyword"):
		fix = `put text, durations and sizes in quotes, as "30s"; close lists with ]`
	case strings.Contains(message, "expected '='"):
		fix = `write key = value, and names with dots in quotes`
	case strings.Contains(message, "expected newline"):
		fix = "one key = value on each line; text in quotes"
	case strings.Contains(message, "']'"), strings.Contains(message, "array is incomplete"):
		fix = "close the bracket; put commas between the values of a list"
	case strings.Contains(message, "inline table"):
		fix = "close the brace; put commas between the keys"
	case strings.Contains(message, "string"):
		fix = "close the quote; write \\ as \\\\ or use single quotes"
	}
	return "cannot be read: " + message + "; " + fix
}

// expression takes in one header or key.
func (b *builder) expression(e *unstable.Node) {
	names, offsets, end := b.key(e.Key())
	switch e.Kind {
	case unstable.Table:
		b.current, b.path = b.header(names, offsets, false)
	case unstable.ArrayTable:
		b.current, b.path = b.header(names, offsets, true)
	case unstable.KeyValue:
		end = b.base + int(e.Raw.Offset+e.Raw.Length)
		if b.current != nil {
			b.keyValue(b.current, b.path, e, 0)
		}
	}
	b.end = end
}

func (b *builder) key(it unstable.Iterator) (names []string, offsets []int, end int) {
	for it.Next() {
		n := it.Node()
		names = append(names, string(n.Data))
		offsets = append(offsets, b.base+int(n.Raw.Offset))
		end = b.base + int(n.Raw.Offset+n.Raw.Length)
	}
	return names, offsets, end
}

// header finds or makes the table of [names] or [[names]]; nil when it may not
// be defined here.
func (b *builder) header(names []string, offsets []int, list bool) (*node, string) {
	t, path := b.root, ""
	last := len(names) - 1
	for i, name := range names[:last] {
		path = join(path, name)
		next := t.items[name]
		if next == nil {
			next = newTable(offsets[i], implied)
			t.set(name, next)
			b.src.keys[path] = offsets[i]
		} else if next.tables {
			path = join(path, fmt.Sprint(len(next.list)-1))
			next = next.list[len(next.list)-1]
		}
		if next.kind != isTable || next.origin == inlined {
			b.twice(offsets[last], path, next)
			return nil, ""
		}
		t = next
	}
	path = join(path, names[last])
	b.src.keys[path] = offsets[last]
	if list {
		return b.element(t, names[last], path, offsets[last])
	}
	have := t.items[names[last]]
	switch {
	case have == nil:
		have = newTable(offsets[last], headed)
		t.set(names[last], have)
	case have.kind == isTable && have.origin == implied:
		have.origin, have.at = headed, offsets[last]
	default:
		b.twice(offsets[last], path, have)
		return nil, ""
	}
	return have, path
}

// element appends a table to the list that [[...]] names.
func (b *builder) element(t *node, name, path string, at int) (*node, string) {
	list := t.items[name]
	if list == nil {
		list = &node{kind: isList, tables: true, at: at}
		t.set(name, list)
	}
	if !list.tables {
		b.twice(at, path, list)
		return nil, ""
	}
	n := newTable(at, repeated)
	path = join(path, fmt.Sprint(len(list.list)))
	b.src.keys[path] = at
	list.list = append(list.list, n)
	return n, path
}

func (b *builder) twice(at int, path string, first *node) {
	b.report(at, path, fmt.Sprintf("is defined twice, first on line %d; keep one", b.src.line(first.at)))
}

// keyValue puts one key = value into t, which lies at path.
func (b *builder) keyValue(t *node, path string, e *unstable.Node, depth int) {
	names, offsets, end := b.key(e.Key())
	last := len(names) - 1
	for i, name := range names[:last] {
		path = join(path, name)
		next := t.items[name]
		if next == nil {
			next = newTable(offsets[i], dotted)
			t.set(name, next)
			b.src.keys[path] = offsets[i]
		}
		if next.kind != isTable || next.origin != dotted {
			b.twice(offsets[i], path, next)
			return
		}
		t = next
	}
	path = join(path, names[last])
	if have := t.items[names[last]]; have != nil {
		b.twice(offsets[last], path, have)
		return
	}
	v := b.value(e.Value(), path, b.valueAt(end), depth)
	t.set(names[last], v)
	b.src.keys[path] = offsets[last]
}

// valueAt is where the value behind a key begins that ends at end; lists carry
// no place of their own.
func (b *builder) valueAt(end int) int {
	rest := b.src.text[end:]
	value := bytes.TrimLeft(rest, " \t=")
	return end + len(rest) - len(value)
}

// value takes over one value; at is its place where the parser keeps none.
func (b *builder) value(v *unstable.Node, path string, at, depth int) *node {
	if v.Raw.Length > 0 {
		at = b.base + int(v.Raw.Offset)
	}
	if depth > maxDepth {
		b.report(at, path, fmt.Sprintf("lists and tables lie more than %d deep in one another; write it flatter", maxDepth))
		return &node{kind: isText, at: at}
	}
	switch v.Kind {
	case unstable.Array:
		return b.listOf(v, path, at, depth)
	case unstable.InlineTable:
		t := newTable(at, inlined)
		for it := v.Children(); it.Next(); {
			b.keyValue(t, path, it.Node(), depth+1)
		}
		seal(t)
		return t
	}
	return &node{kind: scalarKind(v.Kind), at: at, text: string(v.Data)}
}

// seal marks the tables that dotted keys made within an inline table.
func seal(t *node) {
	t.origin = inlined
	for _, n := range t.items {
		if n.kind == isTable && n.origin == dotted {
			seal(n)
		}
	}
}

func (b *builder) listOf(v *unstable.Node, path string, at, depth int) *node {
	list := &node{kind: isList, at: at}
	for it := v.Children(); it.Next(); {
		if it.Node().Kind == unstable.Comment {
			continue
		}
		element := join(path, fmt.Sprint(len(list.list)))
		v := b.value(it.Node(), element, at, depth+1)
		b.src.keys[element] = v.at
		list.list = append(list.list, v)
	}
	return list
}

func scalarKind(k unstable.Kind) kind {
	switch k {
	case unstable.Integer:
		return isInteger
	case unstable.Float:
		return isFloat
	case unstable.Bool:
		return isBool
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		return isDate
	}
	return isText
}
