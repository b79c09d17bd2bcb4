package upstream

import (
	"strconv"
	"strings"
)

// caps is what a host offered in its last reply to EHLO.
type caps struct {
	pipelining, eight, utf8, dsn, chunking, binary, startTLS, requireTLS bool
	plain, login, bearer, xoauth2                                        bool // of AUTH
	hasSize                                                              bool
	size                                                                 int64 // largest message in octets; 0: not said
}

// parseCaps reads the text of an EHLO reply; its first line is the greeting.
func parseCaps(text string) caps {
	var c caps
	_, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		// "AUTH=LOGIN" is how some old servers offer it.
		word, params, _ := strings.Cut(strings.Replace(line, "=", " ", 1), " ")
		switch strings.ToUpper(word) {
		case "PIPELINING":
			c.pipelining = true
		case "8BITMIME":
			c.eight = true
		case "SMTPUTF8":
			c.utf8 = true
		case "DSN":
			c.dsn = true
		case "CHUNKING":
			c.chunking = true
		case "BINARYMIME":
			c.binary = true
		case "STARTTLS":
			c.startTLS = true
		case "REQUIRETLS":
			c.requireTLS = true
		case "SIZE":
			c.hasSize = true
			c.size, _ = strconv.ParseInt(strings.TrimSpace(params), 10, 64)
		case "AUTH":
			c.mechanisms(params)
		}
	}
	return c
}

func (c *caps) mechanisms(params string) {
	for m := range strings.FieldsSeq(strings.ToUpper(params)) {
		c.plain = c.plain || m == "PLAIN"
		c.login = c.login || m == "LOGIN"
		c.bearer = c.bearer || m == "OAUTHBEARER"
		c.xoauth2 = c.xoauth2 || m == "XOAUTH2"
	}
}
