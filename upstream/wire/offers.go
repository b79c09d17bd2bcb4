package wire

import (
	"strconv"
	"strings"
)

// Offers is what a host offered in a reply to EHLO (RFC 5321 s. 4.1.1.1); the
// zero value is what one offers that knows HELO alone.
type Offers struct {
	Pipelining bool  // RFC 2920
	EightBit   bool  // 8BITMIME, RFC 6152
	UTF8       bool  // SMTPUTF8, RFC 6531
	DSN        bool  // RFC 3461
	Chunking   bool  // RFC 3030
	Binary     bool  // BINARYMIME, RFC 3030
	StartTLS   bool  // RFC 3207
	RequireTLS bool  // RFC 8689
	HasSize    bool  // RFC 1870
	Size       int64 // largest message in octets; 0: not said

	// Mechanisms of AUTH (RFC 4954): PLAIN, LOGIN, OAUTHBEARER, XOAUTH2.
	Plain, Login, Bearer, XOAuth2 bool
}

// ParseOffers reads the text of an EHLO reply; its first line is the greeting.
func ParseOffers(text string) Offers {
	var o Offers
	_, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		// "AUTH=LOGIN" is how some old servers offer it.
		word, params, _ := strings.Cut(strings.Replace(line, "=", " ", 1), " ")
		switch strings.ToUpper(word) {
		case "PIPELINING":
			o.Pipelining = true
		case "8BITMIME":
			o.EightBit = true
		case "SMTPUTF8":
			o.UTF8 = true
		case "DSN":
			o.DSN = true
		case "CHUNKING":
			o.Chunking = true
		case "BINARYMIME":
			o.Binary = true
		case "STARTTLS":
			o.StartTLS = true
		case "REQUIRETLS":
			o.RequireTLS = true
		case "SIZE":
			o.HasSize = true
			o.Size, _ = strconv.ParseInt(strings.TrimSpace(params), 10, 64)
		case "AUTH":
			o.mechanisms(params)
		}
	}
	return o
}

func (o *Offers) mechanisms(params string) {
	for m := range strings.FieldsSeq(strings.ToUpper(params)) {
		o.Plain = o.Plain || m == "PLAIN"
		o.Login = o.Login || m == "LOGIN"
		o.Bearer = o.Bearer || m == "OAUTHBEARER"
		o.XOAuth2 = o.XOAuth2 || m == "XOAUTH2"
	}
}
