package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// shown is what a test states about authors: address, name, comment.
func shown(authors []Author) string {
	var all []string
	for _, a := range authors {
		s := a.Address.String()
		if a.Name != "" {
			s += " name=" + a.Name
		}
		if a.Comment != "" {
			s += " comment=" + a.Comment
		}
		all = append(all, s)
	}
	return strings.Join(all, " | ")
}

// A value in plain form leaves as it came.
func TestAuthorsInPlainForm(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"address alone", " a@example.org\r\n", "a@example.org"},
		{"address in brackets", "<a@example.org>", "a@example.org"},
		{"white space around", " \t<a@example.org> ", "a@example.org"},
		{"display name", "Anna K <a@example.org>", "a@example.org name=Anna K"},
		{"quoted display name", `"Okafor, Ben" <b@example.org>`, "b@example.org name=Okafor, Ben"},
		{"quotes at the brackets", `"Ben"<b@example.org>`, "b@example.org name=Ben"},
		{"quotes in quotes", `"Ben \"B\" Okafor" <b@example.org>`, `b@example.org name=Ben "B" Okafor`},
		{"dots without quotes", "Joe Q. Public <j.q@example.org>", "j.q@example.org name=Joe Q. Public"},
		{"comment as a name", "a@example.org (Anna K. [x])", "a@example.org comment=Anna K. [x]"},
		{"two authors", "a@example.org, B <b@example.org>", "a@example.org | b@example.org name=B"},
		{"two authors without a blank", "a@example.org,b@example.org", "a@example.org | b@example.org"},
		{"folded between words", "\r\n Anna\r\n\tK\r\n <a@example.org>\r\n", "a@example.org name=Anna K"},
		{"literal", "a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"mapped literal", "a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"},
		{"quoted local part", `X <"first last@evil.example"@example.org>`, `"first last@evil.example"@example.org name=X`},
		{"encoded name", "=?utf-8?q?Caf=C3=A9_Nord?= <a@example.org>", "a@example.org name=Café Nord"},
		{"encoded words side by side", "=?UTF-8?B?xYF1a2Fzeg==?=\r\n =?UTF-8?B?IMW7w7PFgsSH?= <a@example.org>", "a@example.org name=Łukasz Żółć"},
		{"encoded beside a word", "Dr. =?utf-8?q?J=C3=B6rg?= X <a@example.org>", "a@example.org name=Dr. Jörg X"},
		{"encoded in Latin-1", "=?iso-8859-1?q?J=F8rn?= <a@example.org>", "a@example.org name=Jørn"},
		{"encoded in EUC-JP", "=?euc-jp?b?xvzL3A==?= <a@example.org>", "a@example.org name=日本"},
		{"encoded in ISO-2022-JP", "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <a@example.org>", "a@example.org name=日本"},
		{"encoded with a language", "=?utf-8*de?q?J=C3=B6rg?= <a@example.org>", "a@example.org name=Jörg"},
		{"Latin-1 octets in the name", "J\xfcrgen <a@example.org>", "a@example.org name=J\uFFFDrgen"},
		{"Latin-1 octets in quotes", "\"M\xfcller, J\" <a@example.org>", "a@example.org name=M\uFFFDller, J"},
		{"UTF-8 name", "Łukasz <a@example.org>", "a@example.org name=Łukasz"},
		{"UTF-8 address", "J <jdöe@mächine.example>", "jdöe@mächine.example name=J"},
		{"hundred authors", "a@example.org" + strings.Repeat(",a@example.org", MaxAuthors-1), "a@example.org" + strings.Repeat(" | a@example.org", MaxAuthors-1)},

		// What cannot be decoded for certain stays, so that it counts as deceiving.
		{"charset unknown here", "=?cp037?q?ceo=40example.org?= <a@example.org>", "a@example.org name==?cp037?q?ceo=40example.org?="},
		{"charset that is replaced", "=?hz-gb-2312?q?ceo=40example.org?= <a@example.org>", "a@example.org name==?hz-gb-2312?q?ceo=40example.org?="},
		{"octets of unknown order", "=?utf-16?b?AGMAZQBv?= <a@example.org>", "a@example.org name==?utf-16?b?AGMAZQBv?="},
		{"not UTF-8", "=?utf-8?q?=FF?= <a@example.org>", "a@example.org name==?utf-8?q?=FF?="},
		{"not base64", "=?utf-8?b?a?= <a@example.org>", "a@example.org name==?utf-8?b?a?="},
		{"shift that does not end", "=?iso-2022-jp?b?Y2VvGyRC?= =?iso-2022-jp?q?!w?= <a@example.org>", "a@example.org name==?iso-2022-jp?b?Y2VvGyRC?=!w"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			authors, plain, err := AppendAuthors(nil, []byte(tt.in))
			if err != nil || !plain || shown(authors) != tt.want {
				t.Errorf("%q:\n got %s, plain %v, %v\nwant %s", tt.in, shown(authors), plain, err, tt.want)
			}
		})
	}
}

// Every other form that is accepted is written anew.
func TestAuthorsWrittenAnew(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"the address as its name", "news@example.org <news@example.org>", `"news@example.org" <news@example.org>`},
		{"the same without a blank", "news@example.org<news@example.org>", `"news@example.org" <news@example.org>`},
		{"square brackets in a name", "[Alert] Monitor <news@example.org>", `"[Alert] Monitor" <news@example.org>`},
		{"comma in a name", "Example, Inc. <news@example.org>", `"Example, Inc." <news@example.org>`},
		{"colon in a name", "Alert: Disk <news@example.org>", `"Alert: Disk" <news@example.org>`},
		{"semicolon in a name", "A; B <news@example.org>", `"A; B" <news@example.org>`},
		{"commas in names of two", "A, B <a@example.org>, C, D <b@example.org>", "\"A, B\" <a@example.org>,\r\n \"C, D\" <b@example.org>"},
		{"dot first", ".NET <news@example.org>", `".NET" <news@example.org>`},
		{"no blank before the brackets", "Anna<a@example.org>", `"Anna" <a@example.org>`},
		{"comment behind a name", "Anna (Sales) <a@example.org>", `"Anna (Sales)" <a@example.org>`},
		{"comment behind brackets", "Anna <a@example.org> (Sales)", `"Anna (Sales)" <a@example.org>`},
		{"comment before the address", "(Anna) a@example.org", `"Anna" <a@example.org>`},
		{"comment at the address", "a@example.org(Anna)", `"Anna" <a@example.org>`},
		{"two comments", "a@example.org (Anna) (x)", `"Anna x" <a@example.org>`},
		{"comments in comments", "(a (b (c))) a@example.org", `"a (b (c))" <a@example.org>`},
		{"escapes in a comment", `(a \) b) a@example.org`, `"a ) b" <a@example.org>`},
		{"tabs and folding in a comment", "a@example.org (b\tc\r\n\td)", `"b c d" <a@example.org>`},
		{"deepest comments", strings.Repeat("(", maxComments) + strings.Repeat(")", maxComments) + "a@example.org",
			`"` + strings.Repeat("(", maxComments-1) + strings.Repeat(")", maxComments-1) + `" <a@example.org>`},
		{"empty comment", "a@example.org ()", "<a@example.org>"},
		{"empty quotes", `"" <a@example.org>`, "<a@example.org>"},
		{"several quoted words", `"a" b "c"<b@example.org>`, `"a b c" <b@example.org>`},
		{"quotes within a word", `O"Brien" <b@example.org>`, `"OBrien" <b@example.org>`},
		{"escapes in quotes", `"a \"b\" \\c" <b@example.org>`, "=?utf-8?b?YSAiYiIgXGM=?=\r\n <b@example.org>"},
		{"escape behind a letter beyond ASCII", `"你\"x" <b@example.org>`, "=?utf-8?b?5L2gIng=?=\r\n <b@example.org>"},
		{"tab in quotes", "\"a\tb\" <b@example.org>", `"a b" <b@example.org>`},
		{"folding in quotes", "\"a\r\n b\" <b@example.org>", `"a b" <b@example.org>`},
		{"UTF-8 in square brackets", "[Größe] <a@example.org>", "=?utf-8?b?W0dyw7bDn2Vd?=\r\n <a@example.org>"},
		{"encoded word at the brackets", "=?utf-8?q?Anna?=<a@example.org>", `"Anna" <a@example.org>`},
		{"encoded words in quotes", `"=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_K?=" <a@example.org>`, "=?utf-8?b?SsO2cmcgSw==?=\r\n <a@example.org>"},
		{"quotes behind an encoded word", `=?utf-8?q?Anna?= "K, L" <a@example.org>`, `"Anna K, L" <a@example.org>`},
		{"comma in an encoded word", "=?utf-8?q?Example,_Inc.?= <a@example.org>", `"Example, Inc." <a@example.org>`},
		{"parentheses in an encoded word", "=?utf-8?q?Anna_(Sales)?= <a@example.org>", `"Anna (Sales)" <a@example.org>`},
		{"blanks in an encoded word", "=?utf-8?q?Anna K?= <a@example.org>", `"Anna K" <a@example.org>`},
		{"quotes without need", `"news"@example.org`, "<news@example.org>"},
		{"group", "Board: a@example.org, B <b@example.org>;", "<a@example.org>,\r\n \"B\" <b@example.org>"},
		{"group with a quoted name", `"The, Board":a@example.org; `, "<a@example.org>"},
		{"comma in a group", "Board: A, B <a@example.org>;", `"A, B" <a@example.org>`},
		{"long name", `"` + strings.Repeat("n", longName+1) + `" [x] <a@example.org>`,
			strings.Repeat("=?utf-8?b?"+strings.Repeat("bm5u", 14)+"?=\r\n ", 4) + "=?utf-8?b?" + strings.Repeat("bm5u", 11) + "IFt4XQ==?=\r\n <a@example.org>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			authors, plain, err := AppendAuthors(nil, []byte(tt.in))
			if err != nil || plain {
				t.Fatalf("%q: %s, plain %v, %v", tt.in, shown(authors), plain, err)
			}
			if got := string(appendFrom(nil, authors)); got != "From: "+tt.want+"\r\n" {
				t.Errorf("%q:\n got %q\nwant %q", tt.in, got, tt.want)
			}
			fixed(t, authors)
		})
	}
}

// fixed holds what appendFrom writes to what it was given: the same authors,
// plain, and written the same again.
func fixed(t *testing.T, authors []Author) {
	t.Helper()
	field := appendFrom(nil, authors)
	h, err := ParseHeader(field, 1)
	if len(field) > MaxSenderField {
		return // which leaves, for it was shorter when it came
	}
	if err != nil {
		t.Fatalf("%q: %v", field, err)
	}
	again, plain, err := AppendAuthors(nil, h[0].Body())
	if err != nil || !plain || len(again) != len(authors) {
		t.Fatalf("%q is read as %s, plain %v, %v", field, shown(again), plain, err)
	}
	for i := range again {
		if again[i].Address != authors[i].Address || again[i].Name != shownName(&authors[i]) || again[i].Comment != "" {
			t.Fatalf("%q is read as %s, from %s", field, shown(again), shown(authors))
		}
	}
	if twice := appendFrom(nil, again); !bytes.Equal(twice, field) {
		t.Fatalf("%q is then written %q", field, twice)
	}
}

// What one reader or another takes for somebody else, or for nobody.
func TestAuthorsRefusesWhatIsNotCertain(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":             "",
		"white space":         " \r\n",
		"comma alone":         ",",
		"comma first":         ", a@example.org",
		"comma last":          "a@example.org,",
		"two commas":          "a@example.org,, b@example.org",
		"comment alone":       "(Anna)",
		"entry of a comment":  "(Anna), a@example.org",
		"entry of quotes":     `"Anna", a@example.org`,
		"entry of words":      "Anna, a@example.org",
		"entry of an address": `"ceo@bank.example", A <a@example.org>`,
		"empty group":         "Undisclosed recipients:;",

		"words and an address without brackets": "Big Bug bb@bug.com",
		"two addresses without a comma":         "a@example.org b@example.org",
		"two in brackets without a comma":       "<a@example.org> <b@example.org>",
		"two at signs":                          "a@b@example.org",
		"address before brackets":               "ceo@bank.example <a@example.org>",
		"part of the address before brackets":   "a@example <a@example.org>",
		"address and words before brackets":     "a@example.org x <a@example.org>",
		"words and address before brackets":     "x a@example.org <a@example.org>",
		"address and dot before brackets":       "a@example.org .bank.example <a@example.org>",
		"dot and address before brackets":       "ceo. a@example.org <a@example.org>",
		"address and comment before brackets":   "a@example.org (x) <a@example.org>",
		"address with blanks before brackets":   "ceo @ bank.example <a@example.org>",
		"at sign before brackets":               "Anna @ work <a@example.org>",
		"address after brackets":                "<a@example.org> ceo@bank.example",
		"words after brackets":                  "<a@example.org> Anna",
		"brackets in brackets":                  "<<a@example.org>>",
		"empty brackets":                        "Anna <>",
		"name alone":                            "Anna",
		"quoted name alone":                     `"a@example.org"`,
		"quotes that do not end":                `"Anna <a@example.org>`,
		"comment that does not end":             "(Anna a@example.org",
		"comment closed too often":              "(a)) a@example.org",
		"brackets that do not end":              "Anna <a@example.org",
		"brackets closed too often":             "Anna <a@example.org>>",
		"backslash outside quotes":              `An\na <a@example.org>`,

		"blank within the domain":      "ceo@bank.example .example.org",
		"folding within the domain":    "ceo@bank.example\r\n .example.org",
		"comment within the domain":    "ceo@bank.example (CEO) .example.org",
		"comment at the domain":        "ceo@bank.example(CEO).example.org",
		"folding in brackets":          "<ceo@bank.example\r\n\t.example.org>",
		"blank before the at sign":     "a @example.org",
		"comment before the at sign":   "a(x)@example.org",
		"folding before the at sign":   "<a\r\n @example.org>",
		"blank behind the at sign":     "a@ example.org",
		"blanks within brackets":       "< a@example.org >",
		"comment within brackets":      "<(x)a@example.org>",
		"two words as local part":      "a b@example.org",
		"two words in brackets":        "<a b@example.org>",
		"two words as domain":          "a@example org",
		"quoted word and word":         `"a b".c@example.org`,
		"quotes at a word":             `"a"b@example.org`,
		"quotes that hold nothing":     `""@example.org`,
		"route":                        "X <@a.example,@b.example:a@example.org>",
		"route without end":            "<@a.example a@example.org>",
		"no local part":                "@example.org",
		"no local part in brackets":    "<@example.org>",
		"no domain":                    "a@",
		"no domain in brackets":        "<a@>",
		"local part with dot first":    ".a@example.org",
		"local part with dot last":     "a.@example.org",
		"local part with two dots":     "a..b@example.org",
		"trailing dot":                 "a@example.org.",
		"wide at sign as the only one": "a＠example.org",
		"literal with white space":     "a@[192.0.2. 1]",
		"literal that does not end":    "a@[192.0.2.1",
		"encoded domain":               "a@=?utf-8?q?example.org?=",
		"Latin-1 in the address":       "J <jd\xf6e@example.org>",
		"address longer than a path":   strings.Repeat("a", 243) + "@example.org",
		"domain too long":              "a@" + domain255 + "x",
		"101 authors":                  "a@example.org" + strings.Repeat(",a@example.org", MaxAuthors),

		"group that does not end":        "Board: a@example.org",
		"group in a group":               "A: B: a@example.org;;",
		"group without a name":           ": a@example.org;",
		"group among others":             "x@example.org, Board:a@example.org;",
		"empty group among others":       "Nobody:;, a@example.org",
		"two groups":                     "A: a@example.org;, B: b@example.org;",
		"address as the name of a group": `"ceo@bank.example": a@example.org;`,
		"bare address before a group":    "ceo@bank.example:a@example.org;",
		"semicolon without a group":      "a@example.org; b@example.org",
		"semicolon at the end":           "A <a@example.org>;",
		"semicolon alone":                ";",
		"text after a group":             "Board: a@example.org; x",

		"address in a comment":            "a@example.org (ceo@bank.example)",
		"address in a comment in words":   "Anna (ceo@bank.example) <a@example.org>",
		"brackets in a comment":           "a@example.org (<x>)",
		"encoded word in a comment":       "a@example.org (=?utf-8?q?ceo?=)",
		"wide at sign in a comment":       "a@example.org (ceo＠bank.example)",
		"escaped at sign in a comment":    `a@example.org (ceo\@bank.example)`,
		"entry of a comment with another": "(ceo@bank.example), news@example.org",
		"comments too deep":               strings.Repeat("(", maxComments+1) + strings.Repeat(")", maxComments+1) + "a@example.org",

		// Names that show another address leave in plain form or not at all.
		"address in quotes and a comment":       `"ceo@bank.example" (x) <a@example.org>`,
		"address in quotes and words":           `"ceo@bank.example" x <a@example.org>`,
		"address in quotes with an escape":      `"\ceo@bank.example" <a@example.org>`,
		"encoded address in quotes":             `"=?utf-8?q?ceo=40bank.example?=" <a@example.org>`,
		"encoded address and a comment":         "=?utf-8?q?ceo=40bank.example?= (x) <a@example.org>",
		"unknown charset and a comment":         "=?cp037?q?ceo?= (x) <a@example.org>",
		"Latin-1 octets and square brackets":    "[J\xfcrgen] <a@example.org>",
		"Latin-1 octets in a comment in quotes": "\"x\" <a@example.org> (J\xfcrgen)",

		// Readers that decode first show another address (the attack called Mailsploit).
		"encoded word as local part":            "=?utf-8?q?ceo=40evil.example?=@example.org",
		"encoded words with NUL as local part":  "=?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZQ==?==?utf-8?Q?=00?=@example.org",
		"encoded word in brackets":              "Anna <=?utf-8?q?ceo=40evil.example?=@example.org>",
		"encoded word as a quoted local part":   `"=?utf-8?q?ceo=40evil.example?="@example.org`,
		"encoded word that hides its end":       "=?utf-8?q?a=3Cceo?=@evil.example> <a@example.org>",
		"quotes within an encoded word":         `=?utf-8?q?"?=ceo@evil.example<ceo@evil.example>" <anna@example.org>`,
		"quotes within an encoded word, blanks": `=?utf-8?q?a "?= <ceo@evil.example> (" <anna@example.org>`,
		"comment within an encoded word":        `=?utf-8?q?a(?=<ceo@evil.example>)<anna@example.org>`,
		"encoded word that ends in a comment":   `=?utf-8?q?a(?=<ceo@evil.example>)?= <anna@example.org>`,
		"encoded word that ends in quotes":      `=?utf-8?q?a"?=<ceo@evil.example>"?= <anna@example.org>`,
		"encoded word without an end":           "=?utf-8?q?Anna K <a@example.org>",
		"encoded word in quotes without an end": `"=?utf-8?q?a" <anna@example.org> (?= <ceo@evil.example>)`,
		"encoded word begun in quotes":          `"=?utf-8?q?a"?=("<ceo@bank.example>") <news@example.org>`,
		"encoded word ended by quotes":          `" =?utf-8?q?"?=("<ceo@bank.example>")<news@example.org>`,
		"encoded word and words in quotes":      `"=?utf-8?q?Anna?= K" <a@example.org>`,
		"encoded word in quotes at a word":      `"=?utf-8?q?Anna?="x <a@example.org>`,
		"encoded word before quotes":            `=?utf-8?q?Anna?="K" <a@example.org>`,
		"encoded word behind quotes":            `"K"=?utf-8?q?Anna?= <a@example.org>`,
		"encoded word behind a word":            "x=?utf-8?q?Anna?= <a@example.org>",
		"encoded word at a comment":             "=?utf-8?q?Anna?=(x) <a@example.org>",
		"two encoded words in one":              "=?utf-8?q?a?==?utf-8?q?b?= <a@example.org>",
		"at sign in an encoded word":            "=?utf-8?q?ceo@bank.example?= <a@example.org>",
		"question mark in an encoded word":      "=?utf-8?q?Why??= <a@example.org>",
		"controls in an encoded word":           "=?utf-8?q?a=0D=0ABcc=3A_x?= <a@example.org>",
		"NUL in an encoded word":                "=?utf-8?q?ceo=00=40bank.example?= <a@example.org>",
		"unknown encoding":                      "=?utf-8?z?abc?= <a@example.org>",

		"NUL":                       "a\x00@example.org",
		"NUL in quotes":             "\"a\x00\"@example.org",
		"ESC":                       "\x1b$B <a@example.org>",
		"tab in a quoted local":     "\"a\tb\"@example.org",
		"bare CR":                   "a@example.org\r",
		"bare LF":                   "a@example.org\n b@example.org",
		"line that is not folded":   "a@example.org\r\nb",
		"escaped line end":          "\"a\\\r\n b\" <a@example.org>",
		"line of blanks":            "Anna\r\n \r\n <a@example.org>",
		"line of blanks at the end": "a@example.org\r\n \r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if authors, plain, err := AppendAuthors(nil, []byte(in)); err == nil || authors != nil || plain {
				t.Errorf("%.100q: %s, plain %v, %v", in, shown(authors), plain, err)
			}
		})
	}
}

// What a caller may tell apart.
func TestAuthorsErrors(t *testing.T) {
	for in, want := range map[string]error{
		"":                   errNoAuthor,
		"Undisclosed:;":      errNoAuthor,
		"Anna a@example.org": errAmbiguous,
		"a@-example.org":     errDomain,
		"a@[x]":              ErrLiteral,
		"a\x01@example.org":  errSyntax,
		strings.Repeat("a@b,", MaxAuthors) + "a@b": errManyAuthors,
	} {
		if _, _, err := AppendAuthors(nil, []byte(in)); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", in, err, want)
		}
	}
}

// 256 KiB of each pattern must not take time that grows faster than its length.
func TestAuthorsTakesLinearTime(t *testing.T) {
	for _, pattern := range []string{
		"(", "()", "(a)", "\"", "\"\"", "a ", "a.", ".", "\\", "=?", "=?utf-8?q?a?= ", "=?utf-8?q?=?=", "<", "@a,", "a@b.example,", "a:;", ",", " ", "\r\n ",
		"a@", "a@b.", "ä", "\xff", "(\\))", "xn--", "[",
	} {
		for _, format := range []string{"%s", "<%s", "<a@%s", "\"%s\" <a@example.org>", "(%s) a@example.org", "%s <a@example.org>"} {
			value := []byte(fmt.Sprintf(format, strings.Repeat(pattern, 256*1024/len(pattern))))
			start := time.Now()
			AppendAuthors(nil, value)
			// 256 KiB take milliseconds; a square of them would take minutes.
			if d := time.Since(start); d > time.Minute {
				t.Errorf("%d octets of %q in %q take %v", len(value), pattern, format, d)
			}
		}
	}
}
