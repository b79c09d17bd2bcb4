package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"postern/mail"
)

// TestUntidyReplies says for each way to write a reply untidily what it means
// (RFC 5321 s. 4.2), and whether the connection can be used again.
func TestUntidyReplies(t *testing.T) {
	long := strings.Repeat("x", 3000)
	lines := strings.Repeat("250-2.6.0 line\r\n", 1000)
	for name, tc := range map[string]struct {
		raw    string
		want   mail.Reply // zero: no reply
		untidy bool
	}{
		"tidy":                      {"250 2.0.0 ok\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "ok"}, false},
		"line without text":         {"250\r\n", mail.Reply{Code: 250, Status: "2.0.0"}, false},
		"blank behind the code":     {"250 \r\n", mail.Reply{Code: 250, Status: "2.0.0"}, false},
		"several without text":      {"250-\r\n250-\r\n250\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "\n\n"}, false},
		"trailing blanks":           {"550 5.1.1 no \t \r\n", mail.Reply{Code: 550, Status: "5.1.1", Text: "no"}, false},
		"status alone":              {"550 5.1.1\r\n", mail.Reply{Code: 550, Status: "5.1.1"}, false},
		"status of another class":   {"250 5.1.1 ok\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "5.1.1 ok"}, false},
		"status that is none":       {"550 5.1.1.1 no\r\n", mail.Reply{Code: 550, Status: "5.0.0", Text: "5.1.1.1 no"}, false},
		"8-bit octets":              {"550 gr\xc3\xbcn\r\n", mail.Reply{Code: 550, Status: "5.0.0", Text: "gr??n"}, false},
		"control octets":            {"250 a\x00b\tc\x1b[2J\rd\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "a?b?c?[2J?d"}, false},
		"CR CR LF":                  {"250 ok\r\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "ok"}, false},
		"LF alone":                  {"250 ok\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "ok"}, true},
		"LF alone in the middle":    {"250-a\n250 b\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "a\nb"}, true},
		"no blank behind the code":  {"250ok\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "ok"}, true},
		"tab behind the code":       {"250\tok\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "ok"}, true},
		"stars of a firewall":       {"220****\r\n", mail.Reply{Code: 220, Status: "2.0.0", Text: "****"}, true},
		"line over 1,024 octets":    {"550 5.1.1 " + long + "\r\n", mail.Reply{Code: 550, Status: "5.1.1", Text: long[:MaxLine-10]}, false},
		"long line in the middle":   {"250-" + long + "\r\n250 b\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: long[:MaxLine-4] + "\nb"}, false},
		"long line without an end":  {"250 " + strings.Repeat("x", MaxOctets+10*MaxLine), mail.Reply{Code: 250, Status: "2.0.0", Text: long[:MaxLine-4]}, true},
		"a thousand lines":          {lines + "250 2.6.0 end\r\n", mail.Reply{Code: 250, Status: "2.6.0", Text: cutText(lines)}, false},
		"another code of the class": {"250-a\r\n251 b\r\n", mail.Reply{Code: 251, Status: "2.0.0", Text: "a\nb"}, true},
		"temporary, then permanent": {"450-4.2.0 a\r\n550 5.1.1 b\r\n", mail.Reply{Code: 450, Status: "4.2.0", Text: "a\n5.1.1 b"}, true},
		"permanent, then temporary": {"550-5.1.1 a\r\n450 4.2.0 b\r\n", mail.Reply{Code: 450, Status: "4.0.0", Text: "a\n4.2.0 b"}, true},
		"line without a code":       {"250-a\r\noops\r\n250 b\r\n", mail.Reply{Code: 250, Status: "2.0.0", Text: "a\nb"}, true},

		"yes, then no":              {"250-a\r\n550 b\r\n", mail.Reply{}, false},
		"no, then yes":              {"550-a\r\n250 b\r\n", mail.Reply{}, false},
		"go on, then yes":           {"354-a\r\n250 b\r\n", mail.Reply{}, false},
		"no last line":              {strings.Repeat("250-a\r\n", MaxOctets), mail.Reply{}, false},
		"long lines without a last": {strings.Repeat("250-"+long+"\r\n", 100), mail.Reply{}, false},
		"cut off":                   {"250 2.0.0 o", mail.Reply{}, false},
		"cut off behind the code":   {"250", mail.Reply{}, false},
		"two digits":                {"25 ok\r\n", mail.Reply{}, false},
		"four digits":               {"2500 ok\r\n", mail.Reply{}, false},
		"code below 200":            {"199 ok\r\n", mail.Reply{}, false},
		"code above 599":            {"600 ok\r\n", mail.Reply{}, false},
		"blank before the code":     {" 250 ok\r\n", mail.Reply{}, false},
		"text":                      {"ok\r\n", mail.Reply{}, false},
		"empty line":                {"\r\n", mail.Reply{}, false},
		"NUL in the code":           {"2\x0050 ok\r\n", mail.Reply{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(io.MultiReader(strings.NewReader(tc.raw)))
			got, err := r.Reply()
			if got != tc.want || (err != nil) != (tc.want.Code == 0) {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
			if err == nil && r.untidy != tc.untidy {
				t.Errorf("untidy %v", r.untidy)
			}
			if read := len(tc.raw) - r.Buffered(); r.octets > MaxOctets+2*MaxLine || r.octets > read {
				t.Errorf("%d octets read", r.octets)
			}
		})
	}
}

// cutText is the text that is kept of many lines.
func cutText(lines string) string {
	text := "line"
	for n := strings.Count(lines, "\n") - 1; n > 0 && len(text)+4 < MaxText; n-- {
		text += "\nline"
	}
	if len(text)+3 < MaxText {
		text += "\nend"
	}
	return text
}

// TestVerdictStandsBehindOtherLines: behind the message nothing else is asked,
// so that the first reply is the verdict.
func TestVerdictStandsBehindOtherLines(t *testing.T) {
	for raw, want := range map[string]int{
		"oops\r\n\r\n250 2.0.0 ok\r\n": 250, "25\n550 no\r\n": 550, "oops\r\n": 0, strings.Repeat("\n", 2*MaxOctets): 0,
	} {
		r := NewReader(strings.NewReader(raw))
		if got, err := r.Verdict(); got.Code != want || want != 0 && !r.untidy || want == 0 && err == nil {
			t.Errorf("%.20q: got %v, %v", raw, got, err)
		}
	}
	r := NewReader(strings.NewReader("oops\r\n250 ok\r\n"))
	if got, err := r.Reply(); !errors.Is(err, ErrGarbage) {
		t.Errorf("elsewhere: got %v, %v", got, err)
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-2.1.5 a\r\n250 2.1.5 b\r\n", "550\r\n", "250-a\r\n251 b\r\n", "999 x\r\n", "220 a\n", "\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			reply, err := r.Reply()
			if err != nil {
				return
			}
			if reply.Code < 200 || reply.Code > 599 || len(reply.Text) > MaxText || strings.ContainsAny(reply.Text, "\r\x00") || !mail.ASCII(reply.Text) {
				t.Fatalf("reply %+v", reply)
			}
			if reply.Status != "" && int(reply.Status[0]-'0') != reply.Code/100 || reply.Status == "" && reply.Code/100 != 3 {
				t.Fatalf("reply %+v", reply)
			}
			if wire := reply.AppendTo(nil); bytes.Count(wire, []byte("\r\n")) != strings.Count(reply.Text, "\n")+1 {
				t.Fatalf("wire %q", wire)
			}
		}
	})
}
