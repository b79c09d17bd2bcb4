package parts

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// program is the start of a Windows program.
var program = "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8" + strings.Repeat("\x00", 40) + "\x80\x00\x00\x00" + "This program cannot be run in DOS mode.\r\r\n$"

func encoded(octets string) string {
	return lines(base64.StdEncoding.EncodeToString([]byte(octets)))
}

// lines cuts a text into lines of 76 octets.
func lines(s string) string {
	var b strings.Builder
	for c := range slices.Chunk([]byte(s), 76) {
		b.Write(c)
		b.WriteString("\r\n")
	}
	return b.String()
}

// walked is what is found in a message with LF in place of CR LF.
func walked(t testing.TB, message string, refused ...string) Report {
	t.Helper()
	var k Walker
	r, err := k.Walk(strings.NewReader(strings.ReplaceAll(message, "\n", "\r\n")), Want{Refused: NewRules(refused...), Encrypted: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// multipart is a message of a text and a part.
func multipart(part string) string {
	return "From: a@example.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"sep\"\n\n--sep\nContent-Type: text/plain\n\nsee below\n--sep\n" + part + "\n--sep--\n"
}

// harmless is content that tells nothing, so that only the name does.
const harmless = "aGFybWxlc3M=\n"

func named(header string) string {
	return multipart(header + "\nContent-Transfer-Encoding: base64\n\n" + harmless)
}

// TestPlainEvasions are the 18 ways in which evil.exe passes by the parsers that
// were tried. Each is found, and none needs the content to tell.
func TestPlainEvasions(t *testing.T) {
	for name, m := range map[string]string{
		"filename":                        named("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"evil.exe\""),
		"name in Content-Type only":       named("Content-Type: application/octet-stream; name=evil.exe"),
		"inline image":                    named("Content-Type: image/png\nContent-Disposition: inline; filename=evil.exe"),
		"RFC 2231 pieces":                 named("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename*0=\"evi\"; filename*1*=l%2Ee; filename*2=xe"),
		"8-bit name":                      named("Content-Type: application/octet-stream; name=\"\xfcbel \xe4.exe\""),
		"blanks behind a boundary":        strings.Replace(named("Content-Type: application/octet-stream; name=evil.exe"), "--sep\nContent-Type: app", "--sep \t \nContent-Type: app", 1),
		"no closing boundary":             strings.Replace(named("Content-Type: application/octet-stream; name=evil.exe"), "--sep--\n", "", 1),
		"bad base64":                      multipart("Content-Type: application/octet-stream; name=evil.exe\nContent-Transfer-Encoding: base64\n\n!!!=not=base64*\n"),
		"encoded word":                    named("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"=?utf-8?B?ZXZpbC5leGU=?=\""),
		"unknown transfer encoding":       multipart("Content-Type: application/octet-stream; name=evil.exe\nContent-Transfer-Encoding: x-own\n\nharmless\n"),
		"name beside another filename":    named("Content-Type: application/octet-stream; name=evil.exe\nContent-Disposition: attachment; filename=good.pdf"),
		"two filename parameters":         named("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=good.pdf; filename=evil.exe"),
		"two Content-Type fields":         named("Content-Type: text/plain; name=good.txt\nContent-Type: application/octet-stream; name=evil.exe"),
		"junk in a parameter":             strings.Replace(named("Content-Type: application/octet-stream; name=evil.exe"), "mixed; boundary=\"sep\"", "mixed; charset=\"x\"y=; ;; boundary=\"sep\"", 1),
		"a part behind the last":          strings.Replace(multipart("Content-Type: text/plain\n\nharmless"), "--sep--\n", "--sep--\n\n--sep\nContent-Type: application/octet-stream; name=evil.exe\n\nx\n", 1),
		"within a message":                multipart("Content-Type: message/rfc822\n\nFrom: b@example.org\nContent-Type: application/octet-stream; name=evil.exe\n\nx\n"),
		"uuencoded text":                  "From: a@example.org\n\nhello\nbegin 644 evil.exe\n#86)C\n`\nend\n",
		"a header without its empty line": multipart("Content-Type: application/octet-stream; name=evil.exe\nContent-Transfer-Encoding: base64\naGFybWxlc3M=\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if r := walked(t, m, "exe"); r.Refused != "exe" || !strings.HasSuffix(r.Name, ".exe") {
				t.Errorf("%+v", r)
			}
			if r := walked(t, m, "com"); r.Refused != "" {
				t.Errorf("%+v of what is not refused", r)
			}
		})
	}
}

// TestSampleMessagesAreNotAmbiguous: only a header that ends without an empty line
// can be read in two ways.
func TestSampleMessagesAreNotAmbiguous(t *testing.T) {
	files, err := filepath.Glob("../syntax/testdata/messages/*.eml*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	doubtful := map[string]bool{"header-line-without-colon.eml": true}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		var k Walker
		r, err := k.Walk(f, Want{Refused: NewRules("exe", "js"), Encrypted: true})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(file); (r.Ambiguous != "") != doubtful[name] || (r.Refused != "") != (name == "executable-attachment.eml") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
