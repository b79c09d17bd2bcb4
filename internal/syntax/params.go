package syntax

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"postern/mail"
)

// What can be wrong with the parameters of MAIL and RCPT.
var (
	// ErrUnknownParam: 555 5.5.4, a parameter that we do not have.
	ErrUnknownParam = errors.New("unknown parameter")
	// ErrBadParam: 501 5.5.4, a value that is missing, not wanted or malformed,
	// or a parameter given twice.
	ErrBadParam = errors.New("bad parameter")
)

const (
	maxEnvID = 100 // RFC 3461 s. 4.4
	maxAuth  = 500 // RFC 4954 s. 5
)

// MailCommand parses the argument of MAIL after "FROM:": the path, then its
// parameters, so that SMTPUTF8 is known when the address is judged. Errors are
// those of reversePath and mailParams.
func MailCommand(arg string) (mail.Envelope, error) { return hosts{literals: true}.mailCommand(arg) }

func (h hosts) mailCommand(arg string) (mail.Envelope, error) {
	var env mail.Envelope
	a, rest, err := h.reversePath(arg, true)
	if err != nil {
		return mail.Envelope{}, err
	}
	if err := mailParams(rest, &env); err != nil {
		return mail.Envelope{}, err
	}
	if a.UTF8() && !env.UTF8 {
		return mail.Envelope{}, errNonASCII
	}
	env.From = a
	return env, nil
}

// RcptCommand parses the argument of RCPT after "TO:". utf8 says that MAIL had
// SMTPUTF8, literals that an address literal may stand for the domain. Errors
// are those of forwardPath and rcptParams.
func RcptCommand(arg string, utf8, literals bool) (mail.Recipient, error) {
	return hosts{literals: literals}.rcptCommand(arg, utf8)
}

func (h hosts) rcptCommand(arg string, utf8 bool) (mail.Recipient, error) {
	a, rest, err := h.forwardPath(arg, utf8)
	if err != nil {
		return mail.Recipient{}, err
	}
	r := mail.Recipient{Address: a}
	if err := rcptParams(rest, utf8, &r); err != nil {
		return mail.Recipient{}, err
	}
	return r, nil
}

// mailParams parses the parameters of MAIL into env: SIZE, BODY, SMTPUTF8, RET,
// ENVID, AUTH and REQUIRETLS. Keywords and fixed values in any case are stored
// in upper case; ENVID and AUTH stay as given. A SIZE beyond an int64 is stored
// as the largest. Whether a parameter was offered is for the caller to judge.
func mailParams(rest string, env *mail.Envelope) error {
	return params(rest, func(key, value string, given bool) (err error) {
		switch key {
		case "SIZE":
			env.Size, err = size(value)
		case "BODY":
			env.Body, err = oneOf(value, mail.Body7Bit, mail.Body8Bit, mail.BodyBinary)
		case "SMTPUTF8":
			env.UTF8, err = flag(given)
		case "REQUIRETLS":
			env.RequireTLS, err = flag(given)
		case "RET":
			env.Ret, err = oneOf(value, "FULL", "HDRS")
		case "ENVID":
			env.EnvID, err = value, checkXtext(value, maxEnvID)
		case "AUTH":
			env.Auth, err = value, checkXtext(value, maxAuth)
		default:
			return ErrUnknownParam
		}
		return err
	})
}

// rcptParams parses the parameters of RCPT into r: NOTIFY and ORCPT (RFC 3461;
// the address type utf-8 of RFC 6533, beyond ASCII only with utf8). NOTIFY is
// stored in upper case, ORCPT as given.
func rcptParams(rest string, utf8 bool, r *mail.Recipient) error {
	return params(rest, func(key, value string, _ bool) (err error) {
		switch key {
		case "NOTIFY":
			r.Notify, err = notify(value)
		case "ORCPT":
			r.ORcpt, err = value, checkORcpt(value, utf8)
		default:
			return ErrUnknownParam
		}
		return err
	})
}

// params calls f for each parameter with its keyword in upper case. given tells
// "KEY=" from "KEY"; a value is never empty where it is asked for.
func params(rest string, f func(key, value string, given bool) error) error {
	var known [8]string // more than there are; an unknown one ends the loop
	seen := known[:0]
	for rest != "" {
		var p string
		p, rest, _ = cut(rest, ' ')
		if p == "" { // spaces are not told apart from one
			continue
		}
		key, value, given := cut(p, '=')
		if !keyword(key) {
			return ErrBadParam
		}
		key = strings.ToUpper(key)
		if slices.Contains(seen, key) {
			return ErrBadParam
		}
		seen = append(seen, key)
		if err := f(key, value, given); err != nil {
			return err
		}
	}
	return nil
}

// cut is strings.Cut at an octet. Parameters are a few octets long, so that the
// search costs less than the choice of a way to search.
func cut(s string, c byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == c {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// keyword is esmtp-keyword of RFC 5321 s. 4.1.2.
func keyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || c != '-') {
			return false
		}
	}
	return s != ""
}

func flag(given bool) (bool, error) {
	if given {
		return false, ErrBadParam
	}
	return true, nil
}

func oneOf(value string, words ...string) (string, error) {
	for _, w := range words {
		if value == w || strings.EqualFold(value, w) {
			return w, nil
		}
	}
	return "", ErrBadParam
}

// size is size-value of RFC 1870 s. 5: 1*20DIGIT.
func size(s string) (int64, error) {
	if s == "" || len(s) > 20 || !digits(s) {
		return 0, ErrBadParam
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // out of range: larger than any message
		return math.MaxInt64, nil
	}
	return n, nil
}

// notify is RFC 3461 s. 4.1: NEVER alone, or each of the others at most once.
func notify(value string) (string, error) {
	value = strings.ToUpper(value)
	if value == "NEVER" {
		return value, nil
	}
	var seen [3]bool
	for v := range strings.SplitSeq(value, ",") {
		i := map[string]int{"SUCCESS": 1, "FAILURE": 2, "DELAY": 3}[v] - 1
		if i < 0 || seen[i] {
			return "", ErrBadParam
		}
		seen[i] = true
	}
	return value, nil
}

// checkORcpt is RFC 3461 s. 4.2: an address type, a semicolon, xtext; at most
// 500 octets.
func checkORcpt(value string, utf8 bool) error {
	kind, addr, ok := strings.Cut(value, ";")
	if !ok || len(value) > 500 || !isAtom(kind) {
		return ErrBadParam
	}
	if utf8 && strings.EqualFold(kind, "utf-8") {
		return checkUnitext(addr)
	}
	return checkXtext(addr, 500)
}

func isAtom(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || !mail.IsAtext(s[i]) {
			return false
		}
	}
	return s != ""
}

// checkXtext is xtext of RFC 3461 s. 4: printable ASCII without "+" and "=",
// and "+" with two upper-case hexadecimal digits, which must stand for
// printable ASCII or space.
func checkXtext(s string, limit int) error {
	if s == "" || len(s) > limit {
		return ErrBadParam
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) {
				return ErrBadParam
			}
			if v := hex(s[i+1])<<4 | hex(s[i+2]); v < ' ' || v > '~' {
				return ErrBadParam
			}
			i += 2
		case c < '!', c > '~', c == '=':
			return ErrBadParam
		}
	}
	return nil
}

// hex is the value of an upper-case hexadecimal digit, or out of any range.
func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return 1 << 16
}

// checkUnitext is utf-8-addr-unitext of RFC 6533 s. 3: as xtext, but beyond
// ASCII as it is, and "\x{HEX}" for what could not be.
func checkUnitext(s string) error {
	if s == "" {
		return ErrBadParam
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < '!', c == 0x7f, c == '+', c == '=':
			return ErrBadParam
		case c == '\\':
			end := strings.IndexByte(s[i:], '}')
			if end < 5 || end > 9 || !codePoint(s[i:i+end]) {
				return ErrBadParam
			}
			i += end
		}
	}
	if checkLocal(s, true) != nil {
		return ErrBadParam
	}
	return nil
}

// codePoint judges "\x{" with the digits after it, none of them a control.
func codePoint(s string) bool {
	digits, ok := strings.CutPrefix(s, `\x{`)
	n, err := strconv.ParseUint(digits, 16, 32)
	return ok && err == nil && strings.ToUpper(digits) == digits &&
		(n >= ' ' && n < 0x7f || n >= 0xa0 && n < 0xd800 || n >= 0xe000 && n <= 0x10ffff)
}

// CutKeyword takes "FROM:" or "TO:" off the argument of MAIL or RCPT.
func CutKeyword(arg, keyword string) (string, bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", false
	}
	return arg[len(keyword):], true
}
