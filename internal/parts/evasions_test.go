package parts

import (
	"strings"
	"testing"
)

// TestNamesInEveryReading: what a reader of mail, or the system behind it, would
// make into evil.exe.
func TestNamesInEveryReading(t *testing.T) {
	for name, header := range map[string]string{
		"upper case":                               `Content-Type: x/y; NAME="EVIL.EXE"`,
		"blanks around the equals sign":            `Content-Type: x/y; name = "evil.exe"`,
		"no closing quote":                         `Content-Type: x/y; name="evil.exe`,
		"apostrophes":                              `Content-Type: x/y; name='evil.exe'`,
		"a backslash within quotes":                `Content-Type: x/y; name="evil\.exe"`,
		"a backslash that ends the name":           `Content-Type: x/y; name="evil.exe\"; x="y"`,
		"junk behind the closing quote":            `Content-Type: x/y; name="evil".exe`,
		"a token with a blank":                     `Content-Type: x/y; name=very evil.exe`,
		"a token up to a blank":                    `Content-Type: x/y; name=evil.exe but good.pdf`,
		"a semicolon in a token":                   `Content-Type: x/y; name=evil;1.exe`,
		"a comment in the name":                    `Content-Type: x/y; name=evil(so).exe`,
		"a comment before the value":               `Content-Type: x/y; name=(so)evil.exe`,
		"a comment behind the key":                 `Content-Type: x/y; name(so)=evil.exe`,
		"no semicolon":                             `Content-Type: x/y name=evil.exe`,
		"no type":                                  `Content-Type: name=evil.exe`,
		"in Content-Disposition without a word":    `Content-Disposition: filename=evil.exe`,
		"blank before the colon":                   `Content-Disposition : attachment; filename=evil.exe`,
		"folded within the name":                   "Content-Disposition: attachment; filename=\"evil.e\n xe\"",
		"folded at each word":                      "Content-Disposition:\n attachment;\n\tfilename=\n evil.exe",
		"extended":                                 `Content-Disposition: attachment; filename*=utf-8''evil%2Eexe`,
		"extended without a charset":               `Content-Disposition: attachment; filename*=evil%2eexe`,
		"extended with quotes":                     `Content-Disposition: attachment; filename*="utf-8''evil%2eexe"`,
		"extended without the star":                `Content-Disposition: attachment; filename=utf-8''evil%2eexe`,
		"in UTF-16":                                `Content-Disposition: attachment; filename*=utf-16be''%00e%00v%00.%00e%00x%00e`,
		"percent signs in a plain value":           `Content-Disposition: attachment; filename="evil%2Eexe"`,
		"pieces in another order":                  `Content-Disposition: attachment; filename*1=".exe"; filename*0="evil"`,
		"pieces from one":                          `Content-Disposition: attachment; filename*1="evil"; filename*2=".exe"`,
		"pieces with a gap":                        `Content-Disposition: attachment; filename*0="evil.exe"; filename*2=".txt"`,
		"pieces up to a gap":                       `Content-Disposition: attachment; filename*0="evil."; filename*1="exe"; filename*3=".txt"`,
		"pieces beyond a gap":                      `Content-Disposition: attachment; filename*0="evil"; filename*5=".exe"`,
		"pieces with leading zeros":                `Content-Disposition: attachment; filename*00="evil"; filename*01=".exe"`,
		"pieces of name":                           `Content-Type: x/y; name*0*=utf-8''evil; name*1*=%2eexe`,
		"pieces, each with a charset":              `Content-Type: x/y; name*0*=utf-8''evil; name*1*=utf-8''.exe`,
		"encoded word, q":                          `Content-Type: x/y; name="=?iso-8859-1?q?evil=2Eexe?="`,
		"encoded words, two":                       `Content-Type: x/y; name="=?utf-8?q?evil?= =?utf-8?q?=2Eexe?="`,
		"encoded words without a blank":            `Content-Type: x/y; name="=?utf-8?q?evil?==?utf-8?q?=2Eexe?="`,
		"encoded word within a name":               `Content-Type: x/y; name="evil=?utf-8?b?LmV4ZQ==?="`,
		"encoded words that cut a group of base64": `Content-Type: x/y; name="=?utf-8?b?ZXZpbC5?= =?utf-8?b?leGU=?="`,
		"encoded word without its end":             `Content-Type: x/y; name="=?utf-8?b?ZXZpbC5leGU="`,
		"encoded word with a language":             `Content-Type: x/y; name="=?utf-8*en?b?ZXZpbC5leGU=?="`,
		"encoded word without quotes":              `Content-Type: x/y; name==?utf-8?b?ZXZpbC5leGU=?=`,
		"encoded word in UTF-16":                   `Content-Type: x/y; name="=?utf-16be?b?AGUALgBlAHgAZQ==?="`,
		"encoded word in an extended value":        `Content-Type: x/y; name*="=?utf-8?b?ZXZpbC5leGU=?="`,
		"a dot behind":                             `Content-Type: x/y; name="evil.exe."`,
		"blanks and dots behind":                   `Content-Type: x/y; name="evil.exe . . "`,
		"another stream of the file":               `Content-Type: x/y; name="evil.exe::$DATA"`,
		"NUL behind":                               `Content-Type: x/y; name="evil.exe%00.txt"`,
		"wide letters":                             "Content-Type: x/y; name=\"evil\uff0e\uff45\uff58\uff45\"",
		"a letter that cannot be seen":             "Content-Type: x/y; name=\"evil.e\u200bxe\"",
		"writing from right to left":               "Content-Type: x/y; name=\"evil\u202efdp.exe\"",
		"a path":                                   `Content-Type: x/y; name="C:\dir\evil.exe"`,
		"Content-Description":                      `Content-Description: evil.exe`,
		"Content-Location":                         `Content-Location: http://x.example/evil.exe`,
		"key in an odd place":                      `Content-Type: x/y; charset="; name=evil.exe"`,
		"a type that readers name themselves":      `Content-Type: application/x-msdownload`,
	} {
		t.Run(name, func(t *testing.T) {
			if r := walked(t, multipart(header+"\n\nharmless\n"), "exe"); r.Refused != "exe" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestContentInEveryReading: where the content, and not a name, tells.
func TestContentInEveryReading(t *testing.T) {
	b64 := encoded(program)
	for name, m := range map[string]string{
		"base64":                             multipart("Content-Transfer-Encoding: base64\n\n" + b64),
		"base64 with a comment":              multipart("Content-Transfer-Encoding: (so) base64 (so)\n\n" + b64),
		"base64 in quotes":                   multipart("Content-Transfer-Encoding: \"base64\"\n\n" + b64),
		"base64 with junk in front":          multipart("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n!-!" + b64),
		"base64 on one line":                 multipart("Content-Transfer-Encoding: base64\n\n" + strings.ReplaceAll(b64, "\r\n", "")),
		"base64 with blanks":                 multipart("Content-Transfer-Encoding: base64\n\n" + strings.Join(strings.Split(b64, ""), " ")),
		"quoted-printable":                   multipart("Content-Transfer-Encoding: quoted-printable\n\nM=5A=90=\n=00=03=00"),
		"quoted-printable with blanks":       multipart("Content-Transfer-Encoding: quoted-printable\n\nM= \t \n=5a=90=00=03=00"),
		"8bit":                               multipart("Content-Type: a/b\nContent-Transfer-Encoding: binary\n\n" + program[:60]),
		"an unknown encoding that is base64": multipart("Content-Transfer-Encoding: x-own\n\n" + b64),
		"uuencoded":                          "From: a@example.org\n\nhello\nbegin 644 x.txt\n" + uuencoded(program[:45]) + "\n`\nend\n",
		"uuencoded behind two blanks":        "From: a@example.org\n\nhello\nbegin  x.txt\n" + uuencoded(program[:45]) + "\n`\nend\n",
		"uuencoded in base64 text":           multipart("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + encoded("begin 644 x.txt\n"+uuencoded(program[:45])+"\n`\nend\n")),
		"in an encoded message":              multipart("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + encoded(crlf(multipart("Content-Transfer-Encoding: base64\n\n"+b64)))),
		"in a message as a file":             multipart("Content-Type: application/octet-stream; name=fwd.eml\nContent-Transfer-Encoding: base64\n\n" + encoded(crlf(multipart("Content-Transfer-Encoding: base64\n\n"+b64)))),
		"in a message without its type":      multipart("Content-Disposition: attachment; filename=fwd.eml\n\n" + multipart("Content-Transfer-Encoding: base64\n\n"+b64)),
		"behind a boundary in pieces":        strings.Replace(multipart("Content-Transfer-Encoding: base64\n\n"+b64), `boundary="sep"`, `boundary*0="s"; boundary*1="ep"`, 1),
		"behind an encoded boundary":         strings.Replace(multipart("Content-Transfer-Encoding: base64\n\n"+b64), `boundary="sep"`, `boundary="=?utf-8?q?s=65p?="`, 1),
		"behind an extended boundary":        strings.Replace(multipart("Content-Transfer-Encoding: base64\n\n"+b64), `boundary="sep"`, `boundary*=us-ascii''s%65p`, 1),
		"behind the other of two boundaries": strings.Replace(multipart("Content-Transfer-Encoding: base64\n\n"+b64), `boundary="sep"`, `boundary="other"; boundary=sep`, 1),
		"behind a boundary with a comment":   strings.Replace(multipart("Content-Transfer-Encoding: base64\n\n"+b64), `boundary="sep"`, `boundary=(so)sep`, 1),
		"behind a boundary nobody named":     strings.ReplaceAll(multipart("Content-Transfer-Encoding: base64\n\n"+b64), "--sep\n", "--other\n"),
		"behind a longer boundary":           strings.Replace(multipart("X-Any: y\nContent-Transfer-Encoding: base64\n\n"+b64), "--sep\nX-Any", "--sepX\nX-Any", 1),
		"behind the closing boundary":        strings.Replace(multipart("Content-Type: text/plain\n\nx"), "--sep--\n", "--sep--\nContent-Transfer-Encoding: base64\n\n"+b64, 1),
		"with a mark in front of the header": "\ufeff" + multipart("Content-Transfer-Encoding: base64\n\n"+b64),
	} {
		t.Run(name, func(t *testing.T) {
			if r := walked(t, strings.ReplaceAll(m, "\r\n", "\n"), "exe"); r.Refused != "exe" || r.Name != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestWhatCanBeReadInTwoWays: neither reading is the right one.
func TestWhatCanBeReadInTwoWays(t *testing.T) {
	for name, m := range map[string]string{
		"two types":                              multipart("Content-Type: text/plain\nContent-Type: text/html\n\nx"),
		"two encodings":                          multipart("Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\naGFybWxlc3M="),
		"a header without an empty line":         multipart("Content-Type: text/plain\nhello there"),
		"a part without a header or empty line":  multipart("hello there"),
		"an encoded multipart":                   strings.Replace(multipart("\nx"), "MIME-Version: 1.0", "Content-Transfer-Encoding: base64", 1),
		"an encoded boundary":                    strings.Replace(multipart("\nx\n=2D=2Dsep\nContent-Type: x/y\n\nz"), "MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable", 1),
		"an empty boundary":                      strings.Replace(multipart("\nx"), `"sep"`, `""`, 1),
		"a part of a message":                    multipart("Content-Type: message/partial; id=1; number=1; total=2\n\nFrom: b@example.org\n\nx"),
		"padding within base64":                  multipart("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nQ=QUFB"),
		"junk within base64":                     multipart("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nQUFB\n!\nQUFB"),
		"a boundary within base64":               multipart("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nQUFB\n--other\nContent-Type: x/y\n\nQUFB"),
		"a boundary of a text":                   "From: a@example.org\nContent-Type: text/plain; boundary=sep\n\nx\n--sep\n\nx\n",
		"a name in UTF-7":                        multipart("Content-Type: a/b; name=\"=?utf-7?q?evil+AC4-exe?=\"\n\nx"),
		"a name in EBCDIC":                       multipart("Content-Type: a/b; name*=ibm037''%85%a5%4b%85%a7%85\n\nx"),
		"two pieces of one number":               multipart("Content-Type: a/b; name*0=a; name*0=b; name*1=c\n\nx"),
		"a name that is a class":                 multipart("Content-Type: a/b; name=\"a.{3050f4d8-98B5-11CF-BB82-00AA00BDCE0B}\"\n\nx"),
		"an encoded message that is not encoded": multipart("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nFrom: b@example.org\n\nx"),
		"a header that a blank line may end":     multipart("X-A: b\n \nContent-Type: a/b\n\nx"),
		"a name that readers cut":                multipart("Content-Type: a/b; name=\"evil.exe" + strings.Repeat(" ", 300) + ".txt\"\n\nx"),
		"BinHex":                                 "From: a@example.org\n\n(This file must be converted with BinHex 4.0)\n\n:x:\n",
		"yEnc":                                   "From: a@example.org\n\n=ybegin line=128 size=3 name=x.txt\n",
		"a field with a control":                 multipart("Content-\x01Type: a/b\n\nx"),
		"21 levels":                              strings.Repeat("Content-Type: message/rfc822\n\n", 22),
		"ZIP headers of another name":            asFile(zipOf("a.txt", "b.txt", 8, 8, 0)),
		"ZIP headers of another method":          asFile(zipOf("a.txt", "a.txt", 0, 8, 0)),
		"ZIP headers of another encryption":      asFile(zipOf("a.txt", "a.txt", 8, 8, 1)),
		"a ZIP file without its directory":       asFile(zipOf("a.txt", "a.txt", 8, 8, 0)[:36]),
	} {
		t.Run(name, func(t *testing.T) {
			var k Walker
			r, err := k.Walk(strings.NewReader(crlf(m)), Want{Refused: NewRules("exe")})
			if err != nil || r.Ambiguous == "" || r.Refused != "" {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestOrdinaryMailIsNotAmbiguous: oddities that honest programs write.
func TestOrdinaryMailIsNotAmbiguous(t *testing.T) {
	for name, m := range map[string]string{
		"a signature":                           "From: a@example.org\n\nhello\n-- \nAnna: sales\nTel: 123\n",
		"a quoted message with its source":      "From: a@example.org\n\nit came as:\n\n--xyz\nContent-Type: text/plain\n\nhello\n--xyz--\n",
		"nested boundaries that begin alike":    "Content-Type: multipart/mixed; boundary=\"a\"\n\n--a\nContent-Type: multipart/alternative; boundary=\"ab\"\n\n--ab\nContent-Type: text/plain\n\nx\n--ab\nContent-Type: text/html\n\n<p>x\n--ab--\n--a--\n",
		"quoted-printable around a multipart":   strings.Replace(multipart("Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>a=3Db"), "MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable", 1),
		"base64 in groups with padding":         multipart("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nQQ==\nQUI=\nQUJD\n"),
		"text under base64":                     multipart("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQUFB\n_____\nlist footer\n"),
		"a line of mbox":                        "From anna Mon Nov 30 08:00:00 2026\nFrom: a@example.org\n\nx\n",
		"a word at the start of a line":         "From: a@example.org\n\nbegin with the first chapter\nbegin 2 more\n=====\n",
		"an unknown encoding":                   multipart("Content-Type: text/plain\nContent-Transfer-Encoding: utf-8\n\nhello"),
		"a long name cut into pieces":           multipart("Content-Type: a/b;\n name*0*=UTF-8''%C3%9Cbersicht%20%C3%BCber%20alle%20;\n name*1*=Vorg%C3%A4nge.pdf\n\nx"),
		"a Japanese name":                       multipart("Content-Type: a/b; name=\"=?iso-2022-jp?b?GyRCRnxLXBsoQi5wZGY=?=\"\n\nx"),
		"a part without a header":               multipart("\nx"),
		"an empty part":                         multipart(""),
		"a ZIP file":                            asFile(zipOf("a.txt", "a.txt", 8, 8, 0)),
		"an empty ZIP file":                     asFile("PK\x05\x06" + strings.Repeat("\x00", 18)),
		"a message/delivery-status":             multipart("Content-Type: message/delivery-status\n\nReporting-MTA: dns; x.example\n\nAction: failed"),
		"headers of a message as text":          multipart("Content-Type: text/rfc822-headers\n\nContent-Type: multipart/mixed; boundary=other\nSubject: x"),
		"a long line":                           "From: a@example.org\n\n" + strings.Repeat("x", 200_000) + "\n",
		"a header over the size of a line held": "From: a@example.org\nX-Long: " + strings.Repeat("x", 200_000) + "\nContent-Type: text/plain\n\nx",
	} {
		t.Run(name, func(t *testing.T) {
			if r := walked(t, m, "exe", "js"); r.Ambiguous != "" || r.Refused != "" || r.Encrypted != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// asFile is a message that is one file.
func asFile(octets string) string {
	return "From: a@example.org\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\n" + strings.ReplaceAll(encoded(octets), "\r", "")
}

// uuencoded is one line of at most 45 octets.
func uuencoded(s string) string {
	b := []byte{byte(len(s)) + ' '}
	for len(s)%3 != 0 {
		s += "\x00"
	}
	for i := 0; i < len(s); i += 3 {
		for _, c := range [...]byte{s[i] >> 2, s[i]<<4 | s[i+1]>>4, s[i+1]<<2 | s[i+2]>>6, s[i+2]} {
			b = append(b, c&63+' ')
		}
	}
	return strings.ReplaceAll(string(b), "  ", "``")
}

// zipOf is a ZIP file of one empty file as the local header and as the central
// directory have it.
func zipOf(local, central string, localMethod, centralMethod, flags byte) string {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	l := "PK\x03\x04\x14\x00\x00\x00" + string(rune(localMethod)) + zeros(17) + string(rune(len(local))) + zeros(3) + local
	c := "PK\x01\x02\x14\x00\x14\x00" + string(rune(flags)) + "\x00" + string(rune(centralMethod)) + zeros(17) + string(rune(len(central))) + zeros(17) + central
	return l + c + "PK\x05\x06" + zeros(4) + "\x01\x00\x01\x00" + zeros(10)
}

// TestNameInTheExtraFieldOfAZIPFile: readers show it in place of the other one.
func TestNameInTheExtraFieldOfAZIPFile(t *testing.T) {
	extra := "\x75\x70\x0d\x00\x01\x00\x00\x00\x00evil.exe"
	octets := zipOf("good.txt", "good.txt", 8, 8, 0)
	local, rest := octets[:30+8], octets[30+8:]
	octets = local[:28] + string(rune(len(extra))) + local[29:] + extra + rest
	if r := walked(t, asFile(octets), "exe"); r.Refused != "exe" || r.Ambiguous != "" {
		t.Errorf("%+v", r)
	}
}
