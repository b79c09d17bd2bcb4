package simulate

import (
	"bytes"
	"encoding/json"
	"time"
)

// decoder reads journal lines as the journal writes them, several times as fast
// as encoding/json, and leaves every line that looks unusual to that.
type decoder struct {
	b []byte
	i int
	// names holds texts that come again and again: clients, streams, rules,
	// senders.
	names map[string]string
}

// maxNames bounds decoder.names.
const maxNames = 8192

// decode reads one line.
func (d *decoder) decode(line []byte, t *Transaction) error {
	*t = Transaction{To: t.To[:0]}
	d.b, d.i = line, 0
	if d.event(t) {
		return nil
	}
	*t = Transaction{}
	return t.fromEvent(line)
}

func (d *decoder) event(t *Transaction) bool {
	var duration int64
	ok := d.fields(func(key []byte) bool {
		switch string(key) {
		case "time":
			return d.time(&t.Time)
		case "duration":
			return d.int(&duration)
		case "client":
			return d.name(&t.Client)
		case "client_ip":
			return d.name(&t.ClientIP)
		case "listener":
			return d.name(&t.Listener)
		case "tls":
			return d.name(&t.TLS)
		case "user":
			return d.name(&t.User)
		case "submitter":
			return d.name(&t.Submitter)
		case "submitter_ip":
			return d.name(&t.SubmitterIP)
		case "stream":
			return d.name(&t.Stream)
		case "from":
			return d.name(&t.From)
		case "to":
			return d.recipients(t)
		case "size":
			return d.int(&t.Size)
		case "stage":
			return d.name(&t.Stage)
		case "outcome":
			return d.name(&t.Outcome)
		case "code":
			var n int64
			ok := d.int(&n)
			t.Code = int(n)
			return ok
		case "rule":
			return d.name(&t.Rule)
		case "upstream":
			return d.name(&t.Upstream)
		}
		return d.skip()
	})
	d.space()
	t.end(time.Duration(duration))
	return ok && d.i == len(d.b) && t.Time != 0
}

func (d *decoder) recipients(t *Transaction) bool {
	if !d.take('[') {
		return false
	}
	if d.take(']') {
		return true
	}
	for {
		var r Recipient
		if !d.recipient(&r) {
			return false
		}
		t.To = append(t.To, r)
		if d.take(']') {
			return true
		}
		if !d.take(',') {
			return false
		}
	}
}

func (d *decoder) recipient(r *Recipient) bool {
	return d.fields(func(key []byte) bool {
		switch string(key) {
		case "address":
			raw, plain, ok := d.text()
			if !plain {
				return ok && json.Unmarshal(raw, &r.Address) == nil
			}
			r.Address = string(raw)
			return ok
		case "outcome":
			return d.name(&r.Outcome)
		case "provider":
			return d.name(&r.Provider)
		case "rule":
			return d.name(&r.Rule)
		}
		return d.skip()
	})
}

// fields calls f with each key of an object; f reads the value.
func (d *decoder) fields(f func(key []byte) bool) bool {
	if !d.take('{') {
		return false
	}
	if d.take('}') {
		return true
	}
	for {
		key, plain, ok := d.text()
		if !ok || !plain || !d.take(':') || !f(key) {
			return false
		}
		if d.take('}') {
			return true
		}
		if !d.take(',') {
			return false
		}
	}
}

func (d *decoder) space() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\t' || d.b[d.i] == '\r' || d.b[d.i] == '\n') {
		d.i++
	}
}

// take reads c, if that comes next.
func (d *decoder) take(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

// text reads a string. A plain one has no escapes and only ASCII, and comes
// without its quotes; another one as it is written.
func (d *decoder) text() (raw []byte, plain, ok bool) {
	if !d.take('"') {
		return nil, false, false
	}
	start := d.i
	plain = true
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			d.i++
			if plain {
				return d.b[start : d.i-1], true, true
			}
			return d.b[start-1 : d.i], false, true
		case c == '\\':
			plain = false
			d.i += 2
		case c < ' ':
			return nil, false, false
		default:
			plain = plain && c < 0x80
			d.i++
		}
	}
	return nil, false, false
}

// name reads a string that is likely to come again.
func (d *decoder) name(s *string) bool {
	raw, plain, ok := d.text()
	if !ok {
		return false
	}
	known, found := d.names[string(raw)]
	if found {
		*s = known
		return true
	}
	// What is not plain has quotes, so that the two cannot be taken for one
	// another.
	if plain {
		*s = string(raw)
	} else if json.Unmarshal(raw, s) != nil {
		return false
	}
	if d.names == nil || len(d.names) >= maxNames {
		d.names = make(map[string]string, 64)
	}
	d.names[string(raw)] = *s
	return true
}

func (d *decoder) int(n *int64) bool {
	d.space()
	start := d.i
	var v int64
	for d.i < len(d.b) && d.b[d.i] >= '0' && d.b[d.i] <= '9' && d.i-start < 18 {
		v = v*10 + int64(d.b[d.i]-'0')
		d.i++
	}
	// A sign, a fraction, an exponent, a leading zero: unusual.
	if d.i == start || d.i-start > 1 && d.b[start] == '0' || d.i < len(d.b) && bytes.IndexByte([]byte(",}] \t"), d.b[d.i]) < 0 {
		return false
	}
	*n = v
	return true
}

func (d *decoder) time(ns *int64) bool {
	raw, plain, ok := d.text()
	if !ok || !plain {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, string(raw))
	if err != nil || !plausible(at) {
		return false
	}
	*ns = at.UnixNano()
	return true
}

// skip passes over a value that nobody asks for; only its end is looked for.
func (d *decoder) skip() bool {
	d.space()
	depth := 0
	for d.i < len(d.b) {
		switch c := d.b[d.i]; c {
		case '"':
			if _, _, ok := d.text(); !ok {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return true // the end of what holds this value
			}
			if depth--; depth == 0 {
				d.i++
				return true
			}
		case ',':
			if depth == 0 {
				return true
			}
		}
		d.i++
	}
	return false
}
