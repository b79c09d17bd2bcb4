package limitimport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/mail"
	"postern/ratelimit"
)

// Formats are the configurations that Import reads.
var Formats = []string{"postfix-policyd-rate-limit", "iredapd", "rspamd-ratelimit"}

// maxImport bounds a file to import; a dump of a table may be large.
const maxImport = 64 << 20

// Import reads the limits of another program and writes them as tables
// [limit.NAME], with a comment wherever the meaning changes or something cannot
// be said here.
//
//   - "postfix-policyd-rate-limit": policyd-rate-limit.yaml, or the older .conf
//   - "iredapd": the table throttle, as INSERT statements of a dump or as
//     tab-separated columns under their names
//   - "rspamd-ratelimit": local.d/ratelimit.conf
func Import(format string, in io.Reader, out io.Writer) error {
	convert := map[string]func(string, *imported) error{
		"postfix-policyd-rate-limit": importPolicyd, "iredapd": importIredapd, "rspamd-ratelimit": importRspamd,
	}[format]
	if convert == nil {
		return fmt.Errorf("format %q is unknown; write one of %s", format, strings.Join(Formats, ", "))
	}
	all, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	switch {
	case err != nil:
		return err
	case len(all) > maxImport:
		return fmt.Errorf("the file is over %s", text.FormatSize(maxImport))
	}
	found := &imported{}
	if err := convert(strings.ReplaceAll(string(all), "\r\n", "\n"), found); err != nil {
		return err
	}
	return found.write(out)
}

var errNothing = errors.New("no limit was found in the file; is it of this format?")

// imported is what was found, in the order in which it is written.
type imported struct {
	notes  []string
	limits []*importedLimit
}

// importedLimit is one [limit.NAME].
type importedLimit struct {
	name, per string
	skip      bool     // absent = "skip"
	more      []string // further lines of the table
	notes     []string
	numbers   importedNumbers
	overrides []importedOverride
	// off: the limit cannot be carried over; it is written as comments.
	off bool
}

type importedOverride struct {
	key     string
	note    string
	numbers importedNumbers
}

// importedNumbers are the numbers of each unit, as TOML has them.
type importedNumbers struct{ messages, recipients, bytes []string }

func (i *imported) note(format string, args ...any) {
	i.notes = append(i.notes, fmt.Sprintf(format, args...))
}

// limit finds or begins a limit.
func (i *imported) limit(name, per string) *importedLimit {
	for _, l := range i.limits {
		if l.name == name {
			return l
		}
	}
	l := &importedLimit{name: name, per: per}
	i.limits = append(i.limits, l)
	return l
}

func (l *importedLimit) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// override adds an override, unless there is one of the same key.
func (l *importedLimit) override(o importedOverride) {
	if !slices.ContainsFunc(l.overrides, func(old importedOverride) bool { return tomlString(old.key) == tomlString(o.key) }) {
		l.overrides = append(l.overrides, o)
	}
}

func (n *importedNumbers) empty() bool { return len(n.messages)+len(n.recipients)+len(n.bytes) == 0 }

// lines are the units that have numbers.
func (n *importedNumbers) lines() (lines []string) {
	for _, u := range []struct {
		unit    ratelimit.Unit
		numbers []string
	}{{ratelimit.Messages, n.messages}, {ratelimit.Recipients, n.recipients}, {ratelimit.Bytes, n.bytes}} {
		if len(u.numbers) > 0 {
			lines = append(lines, fmt.Sprintf(`%s = ["%s"]`, u.unit, strings.Join(u.numbers, `", "`)))
		}
	}
	return lines
}

func (i *imported) write(out io.Writer) error {
	w := bufio.NewWriter(out)
	for _, note := range i.notes {
		writeComment(w, note)
	}
	for _, l := range i.limits {
		fmt.Fprintln(w)
		l.write(w)
	}
	return w.Flush()
}

// write writes a table, as comments where it would not be a limit.
func (l *importedLimit) write(w *bufio.Writer) {
	wrong, first := map[string]error{}, map[string]string{}
	for _, o := range l.overrides {
		id := o.key
		if strings.Contains(l.per, ratelimit.PerSender.String()) || strings.Contains(l.per, ratelimit.PerUser.String()) {
			id = mail.User(id, nil)
		}
		if other, again := first[id]; again && other != o.key {
			wrong[o.key] = fmt.Errorf("it is %q in another spelling", other)
			continue
		}
		first[id], wrong[o.key] = o.key, l.compiles([]importedOverride{o})
	}
	good := slices.DeleteFunc(slices.Clone(l.overrides), func(o importedOverride) bool { return wrong[o.key] != nil })
	if !l.off {
		if err := l.compiles(good); err != nil {
			l.off = true
			l.note("This cannot be a limit as it stands: %v", err)
		}
	}
	for _, note := range l.notes {
		writeComment(w, note)
	}
	mark := ""
	if l.off {
		mark = "# "
	}
	fmt.Fprintf(w, "%s[limit.%s]\n%sper = %s\n", mark, ratelimit.QuoteKey(l.name), mark, l.per)
	if l.skip {
		fmt.Fprintf(w, "%sabsent = \"skip\"\n", mark)
	}
	for _, line := range slices.Concat(l.numbers.lines(), l.more) {
		fmt.Fprintf(w, "%s%s\n", mark, line)
	}
	if len(l.overrides) > 0 {
		fmt.Fprintf(w, "\n%s[limit.%s.overrides]\n", mark, ratelimit.QuoteKey(l.name))
	}
	for _, o := range l.overrides {
		if o.note != "" {
			writeComment(w, o.note)
		}
		mark := mark
		if err := wrong[o.key]; err != nil {
			writeComment(w, "No override here can name this one: "+err.Error())
			mark = "# "
		}
		fmt.Fprintf(w, "%s%s = { %s }\n", mark, tomlString(o.key), strings.Join(o.numbers.lines(), ", "))
	}
}

// compiles says why the limit cannot be with these overrides.
func (l *importedLimit) compiles(overrides []importedOverride) error {
	cfg := ratelimit.RuleConfig{FoldTag: slices.Contains(l.more, foldTag), Overrides: map[string]ratelimit.Override{}}
	for _, name := range words(l.per) {
		var d ratelimit.Dimension
		if err := d.UnmarshalText([]byte(name)); err != nil {
			return err
		}
		cfg.Per = append(cfg.Per, d)
	}
	err := l.numbers.parse(&cfg.Messages, &cfg.Recipients, &cfg.Bytes)
	for _, o := range overrides {
		var own ratelimit.Override
		err = errors.Join(err, o.numbers.parse(&own.Messages, &own.Recipients, &own.Bytes))
		cfg.Overrides[o.key] = own
	}
	if err != nil {
		return err
	}
	_, err = ratelimit.Compile(map[string]ratelimit.RuleConfig{l.name: cfg}, ratelimit.Env{})
	return err
}

func (n *importedNumbers) parse(messages, recipients, bytes *ratelimit.Numbers) error {
	for _, u := range []struct {
		texts []string
		to    *ratelimit.Numbers
	}{{n.messages, messages}, {n.recipients, recipients}, {n.bytes, bytes}} {
		for _, text := range u.texts {
			var number ratelimit.Number
			if err := number.UnmarshalText([]byte(text)); err != nil {
				return err
			}
			*u.to = append(*u.to, number)
		}
	}
	return nil
}

const foldTag = "fold_tag = true"

// writeComment breaks a note into lines of a comment. What the file said may
// stand in it: control octets end no comment.
func writeComment(w *bufio.Writer, note string) {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, note)
	line := "#"
	for _, word := range strings.Fields(clean) {
		if len(line)+1+len(word) > 100 && line != "#" {
			fmt.Fprintln(w, line)
			line = "#"
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}

// add appends a line to the table, once.
func (l *importedLimit) add(line string) {
	if !slices.Contains(l.more, line) {
		l.more = append(l.more, line)
	}
}

// number writes N in some seconds as "N/window"; ok false when there is no such
// window here.
func number(n, seconds int64) (text string, ok bool) {
	d := time.Duration(seconds) * time.Second
	if n < 0 || n > ratelimit.MaxNumber || seconds < 1 || seconds > int64(ratelimit.MaxWindow/time.Second) {
		return "", false
	}
	return strconv.FormatInt(n, 10) + "/" + ratelimit.FormatWindow(d), true
}

// unlimited is a number that nothing reaches.
var unlimited = strconv.FormatInt(ratelimit.MaxNumber, 10) + "/1s"

// addNumber appends N in some seconds to a unit, or says why it does not. Of
// two numbers for one window the smaller stays.
func (i *imported) addNumber(to *[]string, what string, n, seconds int64) {
	text, ok := number(n, seconds)
	if !ok {
		i.note("%s: %d in %d seconds is left out: windows here are from 1s to 31d.", what, n, seconds)
		return
	}
	window := text[strings.IndexByte(text, '/'):]
	for j, old := range *to {
		if strings.HasSuffix(old, window) {
			if m, err := strconv.ParseInt(strings.TrimSuffix(old, window), 10, 64); err == nil && m > n {
				(*to)[j] = text
			}
			return
		}
	}
	*to = append(*to, text)
}

// tomlString writes a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
