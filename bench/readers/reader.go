package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	netmail "net/mail"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// reader is one reader of mail.
type reader struct {
	name string
	// command reads messages in base64, one a line, and writes a JSON list of
	// addresses for each, or null where it finds no From. Without one own does so,
	// by program where that is not "".
	command []string
	dir     string
	own     func(context.Context, []message) ([][]string, error)
	program string
	// strict readers decode before they parse, so that a display name becomes an
	// address; display_name_address = "reject" is for them.
	strict bool
}

func readers(dir string) []reader {
	python := func(name, way string, strict bool) reader {
		return reader{name: name, command: []string{"python3", filepath.Join(dir, "reader.py"), way}, strict: strict}
	}
	node := func(name string) reader {
		return reader{name: name, command: []string{"node", "reader.mjs", name}, dir: dir}
	}
	return []reader{
		{name: "net/mail", own: netMail},
		python("Python policy.default", "default", false),
		python("Python compat32", "compat32", false),
		python("Python decoded first", "decoded", true),
		node("postal-mime"), node("nodemailer"), node("emailjs"),
		{name: "rspamd", command: []string{"rspamadm", "lua", "-b", filepath.Join(dir, "reader.lua")}},
		{name: "Postfix cleanup", own: readWithPostfix, program: "postfix"},
	}
}

// verdict is what one reader makes of all messages.
type verdict struct {
	wrong   []string // it sees an author whom the relay did not judge
	missing []string // it sees no From field
	nobody  int      // it sees the field, but no address in it
	same    int
}

// hold compares the reader with the relay.
func (r *reader) hold(ctx context.Context, passed []message) (v verdict, err error) {
	found, err := r.read(ctx, passed)
	if err != nil {
		return v, err
	}
	for i, authors := range found {
		m := &passed[i]
		switch {
		case authors == nil:
			v.missing = append(v.missing, fmt.Sprintf("%q has no From", m.text))
			continue
		case !slices.ContainsFunc(authors, isAddress):
			v.nobody++
			continue
		}
		if stranger := r.stranger(m, authors); stranger != "" {
			v.wrong = append(v.wrong, fmt.Sprintf("%q shows %q, judged %q", m.text, stranger, m.authors))
		} else {
			v.same++
		}
	}
	return v, nil
}

func isAddress(s string) bool { return strings.IndexByte(strings.TrimLeft(s, " "), '@') > 0 }

// stranger is the first of the addresses that is none of the authors.
func (r *reader) stranger(m *message, found []string) string {
	for _, a := range found {
		if isAddress(a) && !r.isOne(seen(m.authors), seen([]string{strings.ToLower(strings.Trim(a, " \t"))})[0]) {
			return a
		}
	}
	return ""
}

// seen is addresses with each run of characters beyond ASCII as one mark: a
// reader that knows no UTF-8 in a header shows something in their place.
func seen(addresses []string) (all []string) {
	for _, a := range addresses {
		var b strings.Builder
		beyond := false
		for _, r := range a {
			if r >= 0x80 && !beyond {
				b.WriteByte('?')
			}
			if beyond = r >= 0x80; !beyond {
				b.WriteRune(r)
			}
		}
		all = append(all, b.String())
	}
	return all
}

// isOne reports whether a reader's address is one of the authors. What decodes
// first gives text of the name with it; of that, no address may be a stranger's.
func (r *reader) isOne(authors []string, a string) bool {
	if r.strict {
		for _, own := range authors {
			a = strings.ReplaceAll(a, own, "")
		}
		_, domains, _ := strings.Cut(a, "@")
		return !strings.Contains(domains, "bank.example")
	}
	if local, domain, ok := cutLast(a, "@"); ok {
		a = unquote(local) + "@" + domain
	}
	return slices.Contains(authors, a)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func unquote(local string) string {
	if q, ok := strings.CutPrefix(local, `"`); ok && strings.HasSuffix(q, `"`) {
		return strings.TrimSuffix(q, `"`)
	}
	return local
}

// read gives all messages to the reader.
func (r *reader) read(ctx context.Context, passed []message) ([][]string, error) {
	if r.own != nil {
		return r.own(ctx, passed)
	}
	cmd := exec.CommandContext(ctx, r.command[0], r.command[1:]...)
	cmd.Dir = r.dir
	cmd.Stderr = io.Discard
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go feed(in, passed)
	var found [][]string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var authors []string
		if err := json.Unmarshal(lines.Bytes(), &authors); err != nil {
			return nil, fmt.Errorf("answer %d, %q: %w", len(found), lines.Bytes(), err)
		}
		found = append(found, authors)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, err
	}
	if len(found) != len(passed) {
		return nil, fmt.Errorf("%d answers to %d messages", len(found), len(passed))
	}
	return found, nil
}

func feed(in io.WriteCloser, passed []message) {
	defer in.Close()
	w := bufio.NewWriterSize(in, 64<<10)
	defer w.Flush()
	for i := range passed {
		if _, err := w.WriteString(base64.StdEncoding.EncodeToString(passed[i].text) + "\n"); err != nil {
			return // the reader has gone, and its end is told
		}
	}
}

// installed reports whether the reader's program is there.
func (r *reader) installed() bool {
	program := r.program
	if len(r.command) > 0 {
		program = r.command[0]
	}
	if program == "" {
		return true
	}
	_, err := exec.LookPath(program)
	return err == nil
}

func netMail(_ context.Context, passed []message) (found [][]string, err error) {
	for i := range passed {
		m, err := netmail.ReadMessage(bytes.NewReader(passed[i].text))
		if err != nil || m.Header.Get("From") == "" {
			found = append(found, nil)
			continue
		}
		list, _ := m.Header.AddressList("From")
		authors := []string{}
		for _, a := range list {
			authors = append(authors, a.Address)
		}
		found = append(found, authors)
	}
	return found, nil
}
