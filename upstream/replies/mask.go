package replies

import (
	"net/netip"
	"strings"
)

// Words that stand in a reply for what was masked. All other text is in lower
// case, so that no peer can write them.
const (
	maskIP      = "IP"      // an address or network
	maskAddr    = "ADDR"    // a mailbox, or anything in angle brackets
	maskHost    = "HOST"    // a host name
	maskURL     = "URL"     // a link
	maskList    = "LIST"    // the host name of a known list
	maskListURL = "LISTURL" // a link to the page of a known list
)

var maskWords = []string{maskIP, maskAddr, maskHost, maskURL, maskList, maskListURL}

// maxReply is how much of a reply is read; what follows says nothing new.
const maxReply = 4096

// replyText is a reply in the form that rules see.
type replyText struct {
	code     int    // 0 when the reply begins with none
	codeText string // the same, as written
	status   string // enhanced status code, "" when there is none
	text     string // a blank, then all on one line in lower case, addresses, hosts and links masked
	hosts    []string
	links    []string // hosts of links
	marks    []string // what hosts and links say without their names
}

// readReply takes code and status from each line, joins the lines by a blank
// and masks what is not a word. Octets that are no printable text become blanks.
func readReply(reply string, lists *listNames) replyText {
	if len(reply) > maxReply {
		reply = reply[:maxReply]
	}
	var t replyText
	var b strings.Builder
	b.Grow(len(reply) + 16)
	for line := range strings.SplitSeq(reply, "\n") {
		line = t.cutJoined(t.cutCode(line))
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(line)
	}
	t.innerStatus(b.String())
	// mail.Reply joins lines with a slash when it writes them into one.
	t.mask(strings.ReplaceAll(b.String(), " / ", " "), lists)
	return t
}

// cutCode removes "550-5.7.1 " and the like from the front of a line; the first
// of each is kept.
func (t *replyText) cutCode(line string) string {
	line = strings.TrimSpace(line)
	if len(line) >= 3 && isDigits(line[:3]) && (len(line) == 3 || line[3] == ' ' || line[3] == '-') &&
		line[0] >= '2' && line[0] <= '5' {
		if t.code == 0 {
			t.codeText = line[:3]
			t.code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
		}
		line = strings.TrimLeft(line[3:], " -")
	}
	word, rest, _ := strings.Cut(line, " ")
	if s := strings.Trim(word, "#:()[]"); isStatus(s) {
		if t.status == "" {
			t.status = s
		}
		return rest
	}
	return line
}

// cutJoined takes the codes out of a line that somebody made of several, as in
// "550-5.7.1 one 550 5.7.1 two".
func (t *replyText) cutJoined(line string) string {
	if t.code == 0 || !strings.Contains(line, t.codeText) {
		return line
	}
	for _, mark := range []string{"-", " "} {
		if t.status != "" {
			line = strings.ReplaceAll(line, " "+t.codeText+mark+t.status+" ", " ")
		}
	}
	return strings.ReplaceAll(line, " "+t.codeText+"-", " ")
}

// innerStatus takes an enhanced status code from within the text, where none stands
// in front of it or only one that says nothing: "(#5.1.1)" as qmail writes it, or
// behind the code of another host that is quoted.
func (t *replyText) innerStatus(text string) {
	if t.code < 400 || t.status != "" && !strings.HasSuffix(t.status, ".0.0") {
		return
	}
	before := ""
	for text != "" {
		var word string
		word, text, _ = strings.Cut(text, " ")
		bare := strings.Trim(word, "#:()[]<>.,;")
		if isStatus(bare) && bare[0] == t.codeText[0] && (strings.Contains(word, "#") || isCode(before)) {
			t.status = bare
			return
		}
		before = strings.Trim(word, "<(:")
	}
}

// isCode reports whether s is a reply code of a refusal.
func isCode(s string) bool { return len(s) == 3 && isDigits(s) && (s[0] == '4' || s[0] == '5') }

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isStatus reports whether s is an enhanced status code (RFC 3463 s. 2).
func isStatus(s string) bool {
	if len(s) < 5 || len(s) > 9 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return false
	}
	subject, detail, ok := strings.Cut(s[2:], ".")
	return ok && len(subject) <= 3 && len(detail) <= 3 && isDigits(subject) && isDigits(detail)
}

// mask writes t.text. Each octet is looked at a bounded number of times.
func (t *replyText) mask(s string, lists *listNames) {
	out := make([]byte, 1, len(s)+16)
	out[0] = ' '
	for i := 0; i < len(s); {
		if s[i] == '<' {
			if n := bracketed(s[i:]); n > 0 {
				out = t.bracket(out, s[i+1:i+n-1], lists)
				i += n
				continue
			}
		}
		n := wordEnd(s[i:])
		switch {
		case n == 0:
			out = appendLower(out, s[i:i+1])
			i++
			continue
		case s[i+n-1] == '=' && i+n < len(s) && (s[i+n] == '[' || s[i+n] == '<'):
			i += n // the name of a field, such as relay=[192.0.2.1], says nothing
			continue
		}
		out = t.word(out, s[i:i+n], lists)
		i += n
	}
	t.text = string(out)
}

// bracketed returns the length of "<...>" at the front of s, 0 when its inside
// holds a blank or is longer than a path can be.
func bracketed(s string) int {
	for i := 1; i < len(s) && i < 330; i++ {
		switch s[i] {
		case '>':
			return i + 1
		case ' ', '\t', '<':
			return 0
		}
	}
	return 0
}

// bracket writes what stands in angle brackets: a link, an address of a host,
// or else a mailbox or name, of which no word counts.
func (t *replyText) bracket(out []byte, inside string, lists *listNames) []byte {
	out = append(out, '<')
	switch {
	case linkStart(inside) == 0 && inside != "":
		out = t.link(out, inside, lists)
	case isIP(inside):
		out = append(out, maskIP...)
	default:
		out = append(out, maskAddr...)
	}
	return append(out, '>')
}

// wordEnd returns how many octets from the front of s belong to one word: all
// up to a blank or a mark that stands in no address, host name or link.
func wordEnd(s string) int {
	for i := range len(s) {
		switch s[i] {
		case '<', '>', '(', ')', '[', ']', '{', '}', '"', '\'', ',', ';', 0x7f:
			return i
		}
		if s[i] <= ' ' {
			return i
		}
	}
	return len(s)
}

func (t *replyText) word(out []byte, w string, lists *listNames) []byte {
	if i := linkStart(w); i >= 0 {
		return t.link(appendLower(out, w[:i]), w[i:], lists)
	}
	if i := strings.IndexByte(w, '@'); i > 0 && i < len(w)-1 {
		end := len(strings.TrimRight(w, ".:!?-_"))
		return appendLower(append(out, maskAddr...), w[end:])
	}
	for w != "" {
		piece, rest := nextPiece(w)
		switch {
		case piece == "":
			out, rest = appendLower(out, w[:1]), w[1:]
		case isIP(piece):
			out = append(out, maskIP...)
			rest = rest[prefixLength(rest):]
		case !isHostName(piece):
			out = appendLower(out, piece)
		case strings.HasPrefix(rest, "/"):
			return t.link(out, w, lists)
		default:
			out = t.host(out, piece, lists)
		}
		w = rest
	}
	return out
}

// nextPiece cuts from the front of w what may be an address or a host name; the
// piece is empty when w begins with a mark.
func nextPiece(w string) (piece, rest string) {
	n := 0
	for n < len(w) && isNameByte(w[n]) {
		n++
	}
	if isIP(w[:n]) {
		return w[:n], w[n:]
	}
	piece = strings.TrimRight(w[:n], ".:-_")
	if i := strings.IndexByte(piece, ':'); i >= 0 && !isIP(piece) {
		piece = piece[:i]
	}
	return piece, w[len(piece):]
}

// linkStart returns where a link begins in w, -1 when none does.
func linkStart(w string) int {
	if i := strings.Index(w, "://"); i > 0 {
		for i > 0 && isLetter(w[i-1]) {
			i--
		}
		return i
	}
	for _, begin := range []string{"//www.", "www."} {
		if len(w) >= len(begin) && strings.EqualFold(w[:len(begin)], begin) {
			return 0
		}
	}
	return -1
}

func (t *replyText) link(out []byte, w string, lists *listNames) []byte {
	_, rest, ok := strings.Cut(w, "//")
	if !ok {
		rest = w
	}
	if i := strings.IndexAny(rest, "/?#:"); i >= 0 {
		rest = rest[:i]
	}
	host := strings.ToLower(strings.Trim(rest, "."))
	t.links = append(t.links, host)
	asks := linkMark(w)
	t.mark(asks)
	if lists.byDomain(host) != "" {
		if asks == linkOfAddress {
			t.mark(zoneOfAddresses)
		}
		return append(out, maskListURL...)
	}
	return append(out, maskURL...)
}

func (t *replyText) host(out []byte, host string, lists *listNames) []byte {
	host = strings.ToLower(host)
	t.hosts = append(t.hosts, host)
	t.mark(zoneMark(host, lists.byDomain(host)))
	if lists.byDomain(host) != "" {
		return append(out, maskList...)
	}
	return append(out, maskHost...)
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
		c == '.' || c == '-' || c == '_' || c == ':'
}

func isIP(s string) bool {
	if len(s) < 3 || len(s) > 45 || !isHex(s[0]) && s[0] != ':' || strings.IndexByte(s, '.') < 0 && strings.Count(s, ":") < 2 {
		return false
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// prefixLength returns the length of "/24" at the front of s, or 0.
func prefixLength(s string) int {
	n := 1
	for n < len(s) && n < 4 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if s == "" || s[0] != '/' || n == 1 {
		return 0
	}
	return n
}

// isHostName reports whether s is a dotted name that ends in a known top-level
// domain. "rejected.Please" and "RESOLVER.ADR.NotFound" are none.
func isHostName(s string) bool {
	i := strings.LastIndexByte(s, '.')
	if i <= 0 || len(s)-i < 3 {
		return false
	}
	top := s[i+1:]
	if top[0] >= 'A' && top[0] <= 'Z' && top[1] >= 'a' && s[i-1] >= 'a' && s[i-1] <= 'z' {
		return false // the end of a sentence without a blank behind it
	}
	if len(top) == 2 {
		return isLetter(top[0]) && isLetter(top[1])
	}
	return strings.HasPrefix(strings.ToLower(top), "xn--") || topLevel[strings.ToLower(top)]
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// topLevel are the top-level domains of more than two letters that mail servers
// are found under, and names used inside networks.
var topLevel = wordSet(`com net org edu gov mil int info biz name pro arpa aero coop museum mobi jobs travel tel cat asia
	xyz online site top club shop app dev cloud email live tech store blog news media group agency company world zone
	space website digital solutions services network systems host link click bank page one work life fun wiki global
	test example invalid localhost localdomain local lan internal home corp`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// appendLower appends s in lower case; runs of blanks and control characters
// become one blank.
func appendLower(out []byte, s string) []byte {
	if !isASCII(s) {
		s = strings.ToLower(strings.ReplaceAll(s, "\u2019", "'"))
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c <= ' ' || c == 0x7f:
			if len(out) > 0 && out[len(out)-1] == ' ' {
				continue
			}
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (t *replyText) mark(m string) {
	if m != "" && !hasWord(t.marks, m) {
		t.marks = append(t.marks, m)
	}
}
