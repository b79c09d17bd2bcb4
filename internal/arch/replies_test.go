package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// codeReply is a reply as it stands in the code.
type codeReply struct {
	place  string
	code   int
	status string
	// text matches what the reply can say; what is not a literal matches
	// anything.
	text string
}

// docReply is a reply as docs/replies.md lists it.
type docReply struct {
	line   int
	code   int
	status string
	text   string
	cells  int // filled ones in its row
}

// codeReplies finds every reply that the packages on the mail path write.
func codeReplies(t *testing.T) (all []codeReply) {
	t.Helper()
	for _, folder := range []string{"relay", "relay/replies", "relay/smtpd", "policy", "upstream", "upstream/capture", "upstream/direct"} {
		files, err := filepath.Glob(filepath.Join("../..", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				if r, ok := replyAt(n); ok {
					r.text, _, _ = strings.Cut(r.text, "\n") // one of several lines is known by its first
					r.place = set.Position(n.Pos()).String()
					all = append(all, r)
				}
				return true
			})
		}
	}
	return all
}

// replyAt reads reply(450, "4.7.1", text), refused(text) and
// mail.Reply{Code: 450, ...}.
func replyAt(n ast.Node) (r codeReply, ok bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		name, _ := n.Fun.(*ast.Ident)
		switch {
		case name == nil:
		case name.Name == "reply" && len(n.Args) == 3:
			code, isCode := literal(n.Args[0])
			status, _ := literal(n.Args[1])
			r.code, _ = strconv.Atoi(code)
			return codeReply{code: r.code, status: status, text: textOf(n.Args[2])}, isCode
		case name.Name == "refused" && len(n.Args) == 1:
			return codeReply{code: 550, status: "5.7.1", text: textOf(n.Args[0])}, true
		}
	case *ast.CompositeLit:
		if sel, isSel := n.Type.(*ast.SelectorExpr); !isSel || sel.Sel.Name != "Reply" {
			return r, false
		}
		for _, e := range n.Elts {
			kv, isKV := e.(*ast.KeyValueExpr)
			if !isKV {
				return r, false
			}
			switch kv.Key.(*ast.Ident).Name {
			case "Code":
				code, _ := literal(kv.Value)
				r.code, _ = strconv.Atoi(code)
			case "Status":
				r.status, _ = literal(kv.Value)
			case "Text":
				r.text = textOf(kv.Value)
			}
		}
		// Where the text is somebody else's, the call that gives it is a reply.
		return r, r.code != 0 && strings.Trim(r.text, ".+") != ""
	}
	return r, false
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return "", false
	}
	if s, err := strconv.Unquote(lit.Value); err == nil {
		return s, true
	}
	return lit.Value, true
}

var verb = regexp.MustCompile(`%[a-z]`)

// textOf is the pattern of all that an expression of type string can be.
func textOf(e ast.Expr) string {
	if s, ok := literal(e); ok {
		return regexp.QuoteMeta(s)
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return textOf(e.X) + textOf(e.Y)
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sprintf" {
			format, _ := literal(e.Args[0])
			return verb.ReplaceAllLiteralString(regexp.QuoteMeta(format), ".+")
		}
	}
	return ".+"
}

var listed = regexp.MustCompile("^\\| `([2345][0-9][0-9]) (?:([245]\\.[0-9]+\\.[0-9]+) )?(.+?)` \\|(.*)\\|$")

func docReplies(t *testing.T) (all []docReply) {
	t.Helper()
	b, err := os.ReadFile("../../docs/replies.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		m := listed.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| `") {
				t.Errorf("docs/replies.md:%d is no row of a reply", i+1)
			}
			continue
		}
		code, _ := strconv.Atoi(m[1])
		r := docReply{line: i + 1, code: code, status: m[2], text: m[3]}
		for cell := range strings.SplitSeq(m[4], " | ") {
			if strings.TrimSpace(cell) != "" {
				r.cells++
			}
		}
		all = append(all, r)
	}
	return all
}

func (c *codeReply) is(d *docReply) bool {
	return c.code == d.code && c.status == d.status && regexp.MustCompile("^"+c.text+"$").MatchString(d.text)
}

// TestEveryReplyIsDocumented holds the code and docs/replies.md against one
// another, both ways.
func TestEveryReplyIsDocumented(t *testing.T) {
	code, docs := codeReplies(t), docReplies(t)
	if len(code) < 60 || len(docs) < 60 {
		t.Fatalf("found only %d replies in the code and %d in docs/replies.md", len(code), len(docs))
	}
	used := make([]bool, len(docs))
	for i := range code {
		found := false
		for j := range docs {
			if code[i].is(&docs[j]) {
				found, used[j] = true, true
			}
		}
		if !found {
			t.Errorf("%s: docs/replies.md lacks %d %s %s", code[i].place, code[i].code, code[i].status, code[i].text)
		}
	}
	for j, d := range docs {
		if !used[j] {
			t.Errorf("docs/replies.md:%d: no code says %d %s %s", d.line, d.code, d.status, d.text)
		}
		if want := 2; d.code >= 400 && d.cells < want {
			t.Errorf("docs/replies.md:%d: a refusal needs its reason and what to do", d.line)
		}
	}
}

// TestReplyCodesAgreeWithTheirStatus: RFC 2034 s. 4 wants one class in both.
func TestReplyCodesAgreeWithTheirStatus(t *testing.T) {
	status := regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)
	for _, r := range codeReplies(t) {
		switch {
		case r.code < 200 || r.code > 599:
			t.Errorf("%s: %d is no reply code", r.place, r.code)
		case r.status == "" && r.code >= 400:
			t.Errorf("%s: %d has no enhanced status code", r.place, r.code)
		case r.status != "" && (!status.MatchString(r.status) || int(r.status[0]-'0') != r.code/100):
			t.Errorf("%s: %d and %q are not of one class", r.place, r.code, r.status)
		}
		for i := range len(r.text) {
			if r.text[i] < ' ' || r.text[i] > '~' {
				t.Errorf("%s: the text of %d is not printable ASCII", r.place, r.code)
				break
			}
		}
	}
}
