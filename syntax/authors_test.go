package syntax

import (
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

func TestAuthors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"address alone", " a@example.org\r\n", "a@example.org"},
		{"address in brackets", "<a@example.org>", "a@example.org"},
		{"display name", "Anna K <a@example.org>", "a@example.org name=Anna K"},
		{"quoted display name", `"Okafor, Ben" <b@example.org>`, "b@example.org name=Okafor, Ben"},
		{"escapes in it", `"a \"b\" \\c" <b@example.org>`, `b@example.org name=a "b" \c`},
		{"several quoted words", `"a" b "c"<b@example.org>`, "b@example.org name=a b c"},
		{"empty display name", `"" <b@example.org>`, "b@example.org"},
		{"dots without quotes", "Joe Q. Public <j.q@example.org>", "j.q@example.org name=Joe Q. Public"},
		{"two authors", "a@example.org, B <b@example.org>", "a@example.org | b@example.org name=B"},
		{"empty elements", ",, a@example.org ,,b@example.org,", "a@example.org | b@example.org"},
		{"comment as a name", "a@example.org (Anna)", "a@example.org comment=Anna"},
		{"comments everywhere", "(x) Pete(A wonderful \\) chap) <(y)pete(his account)@(z)silly.test(his host)>(w)", "pete@silly.test name=Pete comment=x A wonderful ) chap y his account z his host w"},
		{"comments in comments", "(a (b (c))) a@example.org", "a@example.org comment=a (b (c))"},
		{"address in a comment", "(x@evil.example) a@example.org (<y@evil.example>)", "a@example.org comment=x@evil.example <y@evil.example>"},
		{"folded everywhere", "\r\n A\r\n\tB\r\n <a\r\n @\r\n example\r\n .\r\n org>\r\n", "a@example.org name=A B"},
		{"white space around dots", "john . doe @ example . org", "john.doe@example.org"},
		{"quoted word in a local part", `"a b".c@example.org`, `"a b.c"@example.org`},
		{"quoted at sign", `"a@evil"@example.org`, `"a@evil"@example.org`},
		{"quoted local part in brackets", `X <"first last@evil.example"@example.org>`, `"first last@evil.example"@example.org name=X`},
		{"old route", "X <@a.example,@b.example:a@example.org>", "a@example.org name=X"},
		{"old route with gaps", "<,@a.example , , @b.example: a@example.org>", "a@example.org"},
		{"group", "Board: a@example.org, B <b@example.org>;", "a@example.org comment=Board | b@example.org name=B"},
		{"group among others", "x@example.org, Board:a@example.org;, y@example.org", "x@example.org | a@example.org comment=Board | y@example.org"},
		{"empty group among others", "Nobody:;, a@example.org", "a@example.org comment=Nobody"},
		{"group with a quoted name", `"The, Board":a@example.org,;`, "a@example.org comment=The, Board"},
		{"group named as an address", `"ceo@example.org":a@example.org;`, "a@example.org comment=ceo@example.org"},
		{"empty group behind", "a@example.org, Nobody:;", "a@example.org comment=Nobody"},
		{"comment of an empty element", "(x), a@example.org, (y)", "a@example.org comment=x y"},
		{"comment behind a group", "B:a@example.org;(x)", "a@example.org comment=B x"},
		{"comment between authors", "a@example.org (x), (y) b@example.org (z)", "a@example.org comment=x | b@example.org comment=y z"},
		{"mapped literal", "a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"},
		{"literal", "a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"encoded name", "=?utf-8?q?Caf=C3=A9_Nord?= <a@example.org>", "a@example.org name=Café Nord"},
		{"encoded words side by side", "=?UTF-8?B?xYF1a2Fzeg==?=\r\n =?UTF-8?B?IMW7w7PFgsSH?= <a@example.org>", "a@example.org name=Łukasz Żółć"},
		{"encoded in Latin-1", "=?iso-8859-1?q?J=F8rn?= <a@example.org>", "a@example.org name=Jørn"},
		{"encoded in quotes", `"=?utf-8?q?ceo=40example=2Eorg?=" <a@example.org>`, "a@example.org name=ceo@example.org"},
		{"encoded in a charset unknown here", "=?x-none?q?ceo=40example.org?= <a@example.org>", "a@example.org name=ceo@example.org"},
		{"encoded in UTF-16", "=?utf-16le?b?YwBlAG8AQABlAHgALgBvAHIAZwA=?= <a@example.org>", "a@example.org name=ceo@ex.org"},
		{"encoded with blanks", "=?utf-8?q?Anna K?= <a@example.org>", "a@example.org name=Anna K"},
		{"quotes and a comment after an encoded word", `=?utf-8?q?Anna?= "K" (x) <a@example.org>`, "a@example.org name=Anna K comment=x"},
		{"parentheses within an encoded word", `=?utf-8?q?Anna_(Sales)?= <a@example.org>`, "a@example.org name=Anna   comment=Sales"},
		{"quotes that an encoded word holds whole", `=?utf-8?q?Anna_"K"?= <a@example.org>`, "a@example.org name=Anna K"},
		{"quotes after an encoded word with blanks", `=?utf-8?q?Anna K?= "L" <a@example.org>`, "a@example.org name=Anna K L"},
		{"question mark within an encoded word", "=?utf-8?q?Why??= <a@example.org>", "a@example.org name=Why?"},
		{"question mark within an encoded word in quotes", `"=?utf-8?q?Why us??=" <a@example.org>`, "a@example.org name=Why us?"},
		{"two encoded words in one atom", `=?utf-8?q?a?==?utf-8?q?b?= "L" <a@example.org>`, "a@example.org name=ab L"},
		{"encoded controls", "=?utf-8?q?a=0D=0ABcc=3A_x=00?= <a@example.org>", "a@example.org name=aBcc: x"},
		{"encoding that is broken", "=?utf-8?z?abc?= <a@example.org>", "a@example.org name==?utf-8?z?abc?="},
		{"Latin-1 octets in the name", "J\xfcrgen <a@example.org>", "a@example.org name=J\uFFFDrgen"},
		{"UTF-8 name", "Łukasz <a@example.org>", "a@example.org name=Łukasz"},
		{"UTF-8 address", "J <jdöe@mächine.example>", "jdöe@mächine.example name=J"},
		{"hundred authors", strings.Repeat("a@example.org,", MaxAuthors), strings.TrimSuffix(strings.Repeat("a@example.org | ", MaxAuthors), " | ")},
		{"deepest comments", strings.Repeat("(", maxComments) + strings.Repeat(")", maxComments) + "a@example.org",
			"a@example.org comment=" + strings.Repeat("(", maxComments-1) + strings.Repeat(")", maxComments-1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			authors, err := Authors([]byte(tt.in))
			if err != nil || shown(authors) != tt.want {
				t.Errorf("%q:\n got %s, %v\nwant %s", tt.in, shown(authors), err, tt.want)
			}
		})
	}
}

func TestAuthorsRefusesWhatIsNotCertain(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		err      error
	}{
		{"nothing", "", ErrNoAuthor},
		{"white space", " \r\n", ErrNoAuthor},
		{"commas", ",,", ErrNoAuthor},
		{"comment alone", "(a@example.org)", ErrNoAuthor},
		{"empty group", "Undisclosed recipients:;", ErrNoAuthor},
		{"words and an address without brackets", "Big Bug bb@bug.com", ErrAmbiguous},
		{"two addresses without a comma", "a@example.org b@example.org", ErrAmbiguous},
		{"two in brackets without a comma", "<a@example.org> <b@example.org>", ErrAmbiguous},
		{"two at signs", "a@b@example.org", ErrAmbiguous},
		{"address before brackets", "ceo@example.org <a@evil.example>", ErrAmbiguous},
		{"address with dots before brackets", "ceo @ example.org <a@evil.example>", ErrAmbiguous},
		{"address after brackets", "<a@evil.example> ceo@example.org", ErrAmbiguous},
		{"words after brackets", "<a@example.org> Anna", ErrAmbiguous},
		{"brackets in brackets", "<<a@example.org>>", ErrAmbiguous},
		{"empty brackets", "Anna <>", ErrAmbiguous},
		{"name alone", "Anna", ErrAmbiguous},
		{"quoted name alone", `"a@example.org"`, ErrAmbiguous},
		{"no local part", "@example.org", ErrAmbiguous},
		{"no local part in brackets", "<@example.org>", ErrAmbiguous},
		{"no domain", "a@", ErrSyntax},
		{"no domain in brackets", "<a@>", ErrSyntax},
		{"dot first", ".a@example.org", ErrAmbiguous},
		{"dot last", "a.@example.org", ErrAmbiguous},
		{"two dots", "a..b@example.org", ErrAmbiguous},
		{"dot as a name", ". <a@example.org>", ErrAmbiguous},
		{"two words as local part", "a b@example.org", ErrAmbiguous},
		{"two words in brackets", "<a b@example.org>", ErrAmbiguous},
		{"quotes beside a word", `"a"b@example.org`, ErrAmbiguous},
		{"quotes that hold nothing", `""@example.org`, ErrAmbiguous},
		{"two words as domain", "a@example org", ErrAmbiguous},
		{"trailing dot", "a@example.org.", ErrDomain},
		{"quotes that do not end", `"Anna <a@example.org>`, ErrAmbiguous},
		{"comment that does not end", "(Anna a@example.org", ErrAmbiguous},
		{"comment closed too often", "(a)) a@example.org", ErrAmbiguous},
		{"brackets that do not end", "Anna <a@example.org", ErrAmbiguous},
		{"brackets closed too often", "Anna <a@example.org>>", ErrAmbiguous},
		{"group that does not end", "Board: a@example.org", ErrAmbiguous},
		{"group in a group", "A: B: a@example.org;;", ErrAmbiguous},
		{"group without a name", ": a@example.org;", ErrAmbiguous},
		{"semicolon without group", "a@example.org; b@example.org", ErrAmbiguous},
		{"semicolon alone", ";", ErrAmbiguous},
		{"text after a group", "Board: a@example.org; b@example.org", ErrAmbiguous},
		{"route without end", "<@a.example a@example.org>", ErrAmbiguous},
		{"route without a comma", "<@a.example@b.example:a@example.org>", ErrAmbiguous},
		{"route of commas", "<,a@example.org>", ErrAmbiguous},
		{"square brackets in a name", "[EXT] Anna <a@example.org>", ErrAmbiguous},
		{"colon in a name", "Re: Anna <a@example.org>", ErrAmbiguous},
		{"backslash outside quotes", `An\na <a@example.org>`, ErrAmbiguous},
		{"NUL", "a\x00@example.org", ErrSyntax},
		{"NUL in quotes", "\"a\x00\"@example.org", ErrSyntax},
		{"escaped NUL in quotes", "\"a\\\x00\"@example.org", ErrSyntax},
		{"ESC", "\x1b$B <a@example.org>", ErrSyntax},
		{"tab in a quoted local part", "\"a\tb\"@example.org", ErrSyntax},
		{"bare CR", "a@example.org\r", ErrSyntax},
		{"bare LF", "a@example.org\n b@example.org", ErrSyntax},
		{"line that is not folded", "a@example.org\r\nb", ErrSyntax},
		{"escaped line end", "\"a\\\r\n b\" <a@example.org>", ErrSyntax},
		{"Latin-1 in the address", "J <jd\xf6e@example.org>", ErrSyntax},
		// Readers that decode first show another address (the attack called Mailsploit).
		{"encoded word as local part", "=?utf-8?q?ceo=40evil.example?=@example.org", ErrAmbiguous},
		{"encoded words with NUL as local part", "=?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZQ==?==?utf-8?Q?=00?=@example.org", ErrAmbiguous},
		{"encoded word in brackets", "Anna <=?utf-8?q?ceo=40evil.example?=@example.org>", ErrAmbiguous},
		{"encoded word as a quoted local part", `"=?utf-8?q?ceo=40evil.example?="@example.org`, ErrAmbiguous},
		{"encoded word that hides its end", "=?utf-8?q?a=3Cceo?=@evil.example> <a@example.org>", ErrAmbiguous},
		{"quotes within an encoded word", `=?utf-8?q?"?=ceo@evil.example<ceo@evil.example>" <anna@example.org>`, ErrAmbiguous},
		{"quotes within an encoded word with blanks", `=?utf-8?q?a "?= <ceo@evil.example> (" <anna@example.org>`, ErrAmbiguous},
		{"comment within an encoded word", `=?utf-8?q?a(?=<ceo@evil.example>)<anna@example.org>`, ErrAmbiguous},
		{"encoded word that ends in a comment", `=?utf-8?q?a(?=<ceo@evil.example>)?= <anna@example.org>`, ErrAmbiguous},
		{"encoded word that ends in quotes", `=?utf-8?q?a"?=<ceo@evil.example>"?= <anna@example.org>`, ErrAmbiguous},
		{"encoded word without an end", "=?utf-8?q?Anna K <a@example.org>", ErrAmbiguous},
		{"encoded word in quotes without an end", `"=?utf-8?q?a" <anna@example.org> (?= <ceo@evil.example>)`, ErrAmbiguous},
		{"encoded domain", "a@=?utf-8?q?example.org?=", ErrDomain},
		{"wide at sign as the only one", "a＠example.org", ErrAmbiguous},
		{"address as the name of a group", "ceo@evil.example:a@example.org;", ErrAmbiguous},
		{"literal with white space", "a@[192.0.2. 1]", ErrLiteral},
		{"literal that does not end", "a@[192.0.2.1", ErrLiteral},
		{"local part too long", strings.Repeat("a", 65) + "@example.org", ErrLength},
		{"local part of many words", "<a" + strings.Repeat(" .a", 100) + "@example.org>", ErrLength},
		{"domain of many words", "a@a" + strings.Repeat(" .a", 200), ErrLength},
		{"domain too long", "a@" + domain255 + "x", ErrLength},
		{"101 authors", strings.Repeat("a@example.org,", MaxAuthors+1), ErrManyAuthors},
		{"comments too deep", strings.Repeat("(", maxComments+1) + strings.Repeat(")", maxComments+1) + "a@example.org", ErrAmbiguous},
		{"words without end", strings.Repeat("a ", 2000) + "<a@example.org>", ErrAmbiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			authors, err := Authors([]byte(tt.in))
			if !errors.Is(err, tt.err) || authors != nil {
				t.Errorf("%.100q: %s, %v; want %v", tt.in, shown(authors), err, tt.err)
			}
		})
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
			Authors(value)
			// 256 KiB take milliseconds; a square of them would take minutes.
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%d octets of %q in %q take %v", len(value), pattern, format, d)
			}
		}
	}
}
