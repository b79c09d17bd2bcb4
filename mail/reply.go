package mail

import (
	"strconv"
	"strings"
)

// Reply is an SMTP reply (RFC 5321 s. 4.2) with its enhanced status code
// (RFC 2034, RFC 3463). A nil *Reply means: go on.
type Reply struct {
	Code   int    // 200-599
	Status string // "4.7.1"; "" where none goes with the code (3yz, EHLO)
	// Text holds the lines of the reply, separated by "\n", without code and
	// status. Octets other than printable ASCII are sent as "?" (RFC 6531 s. 3.7.4.2
	// keeps UTF-8 out of these replies).
	Text string
	// Said is what an upstream's refusal is worth; nil for other replies.
	Said *Evidence
	// Own says why we reply in place of a receiver's host, of which there is none to ask;
	// nil for other replies.
	Own *Own
	// Provider is the group of receivers that the recipient's domain is in, where mail
	// goes to its own hosts; "" for other replies.
	Provider string
}

// Own says why there is no host of a recipient's domain to ask.
type Own struct {
	Rule   string // that decided, for the event
	Class  Class
	Domain string    // of the recipient, whose hosts they are
	Err    error     // the fault; nil where the answer of DNS is the reason
	Said   *Evidence // what a host said instead of beginning a transaction; nil: nothing
}

// Positive reports whether the command was carried out (2yz or 3yz).
func (r *Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary reports whether the client may try again later (4yz).
func (r *Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports whether the client must not try again as it is (5yz).
func (r *Reply) Permanent() bool { return r.Code >= 500 }

// String is the reply on one line, for logs: the lines of Text stand between " / ".
func (r *Reply) String() string {
	code := strconv.Itoa(r.Code)
	text := strings.ReplaceAll(r.Text, "\n", " / ")
	if r.Status == "" {
		return code + " " + text
	}
	return code + " " + r.Status + " " + text
}

// AppendTo appends the reply as it goes over the wire, each line with its code
// and status and cut to 512 octets, CR LF included (RFC 5321 s. 4.5.3.1.5).
func (r *Reply) AppendTo(b []byte) []byte {
	rest := r.Text
	for {
		line, after, more := strings.Cut(rest, "\n")
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Status != "" {
			b = append(append(b, r.Status...), ' ')
		}
		b = appendClean(b, line, 512-4-len(r.Status)-3)
		b = append(b, '\r', '\n')
		if !more {
			return b
		}
		rest = after
	}
}

func appendClean(b []byte, line string, limit int) []byte {
	if len(line) > limit {
		line = line[:limit]
	}
	for i := range len(line) {
		if c := line[i]; c < ' ' || c >= 0x7f {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return b
}
