package dkimsign

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Errors of Sign that say something about the message or the domain, not about
// a key.
var (
	errNoFrom      = errors.New("message has no From field to sign")
	errUnpublished = errors.New("no record in DNS for the DKIM key")
)

// Sign returns one DKIM-Signature field for each key, folded and ended by CRLF,
// to be put before the header, and the names of the keys.
//
// header is the header block as it will leave, CRLF line ends, with or without
// the blank line; body has read the whole body, which is ended by Sign. Sign
// keeps neither. The caller owns fields; names must not be changed.
//
// An error means that not all signatures could be made; the mail must not leave
// if Required. Without an error fields may still be empty: every key was left
// out for require_published = "skip" in a domain that does not require them.
func (d *Domain) Sign(header []byte, body *BodyHash, now time.Time) (fields []byte, names []string, err error) {
	return (*Way)(nil).Sign(d, header, body, now)
}

// signBy makes the field of each key on a way out.
func (d *Domain) signBy(keys []*Key, way *Way, header []byte, body *BodyHash, now time.Time) (fields []byte, err error) {
	w := workPool.Get().(*work)
	defer w.free()
	w.picked.pick(header, way)
	if w.picked.count[0] == 0 {
		return nil, errNoFrom
	}
	w.canon = w.picked.appendSigned(w.canon[:0], header)
	w.appendCommon(body.Sum())
	fields = make([]byte, 0, len(keys)*(len(keys[0].start)+len(w.common)+600))
	for _, k := range keys {
		if fields, err = k.appendField(fields, w, now, d.expiry(now)); err != nil {
			return nil, fmt.Errorf("sign with DKIM key %s: %w", k.Name(), err)
		}
	}
	return fields, nil
}

// usable returns those of the keys to sign with, after require_published: a key
// that is missing from DNS is left out while another one is known to be there, so
// that a new key can be configured before its record is.
func (d *Domain) usable(all []*Key, allNames []string) ([]*Key, []string, error) {
	if len(all) == 0 && d.unmade != nil {
		return nil, nil, d.unmade
	}
	good, unpublished := 0, 0
	for _, k := range all {
		switch k.Published() {
		case Matches:
			good++
		case Unpublished:
			unpublished++
		}
	}
	lenient := d.config.RequirePublished != Skip && d.config.RequirePublished != Defer
	switch {
	case unpublished == 0, lenient && good == 0:
		return all, allNames, nil
	case unpublished == len(all) && (d.config.RequirePublished == Defer || d.config.Require):
		return nil, nil, errUnpublished
	}
	keys := make([]*Key, 0, len(all))
	names := make([]string, 0, len(all))
	for _, k := range all {
		if k.Published() != Unpublished {
			keys, names = append(keys, k), append(names, k.Name())
		}
	}
	return keys, names, nil
}

// work holds the buffers of one Sign.
type work struct {
	picked picked
	// canon are the signed fields in canonical form; all keys hash it with
	// their own DKIM-Signature behind it.
	canon []byte
	// common is the part of the field that all keys share: h= and bh=.
	common []byte
	column int // of the line that is being written to common
}

var workPool = sync.Pool{New: func() any { return new(work) }}

// free keeps buffers of usual size for the next message.
func (w *work) free() {
	const limit = 64 << 10
	if cap(w.canon) <= limit && cap(w.common) <= limit && cap(w.picked.list) <= limit/32 {
		workPool.Put(w)
	}
}

// appendCommon writes h= and bh=, beginning on a line of their own.
func (w *work) appendCommon(bodyHash [sha256.Size]byte) {
	w.common, w.column = append(w.common[:0], "\r\n\th="...), 3
	first := true
	for i, f := range signedFields {
		for range w.picked.times(i) {
			if !first {
				w.common, w.column = append(w.common, ':'), w.column+1
			}
			w.appendWord(f.name)
			first = false
		}
	}
	w.common = append(w.common, ";\r\n\tbh="...)
	w.common = base64.StdEncoding.AppendEncode(w.common, bodyHash[:])
	w.common = append(w.common, ";\r\n\tb="...)
}

// lineLength is how long lines of the field become (RFC 5322 s. 2.1.1).
const lineLength = 76

// appendWord folds before word when it would not fit, with room for a colon.
func (w *work) appendWord(word string) {
	if w.column+len(word)+1 > lineLength {
		w.common, w.column = append(w.common, "\r\n\t "...), 2
	}
	w.common, w.column = append(w.common, word...), w.column+len(word)
}

// fieldStart is the constant beginning of the field of one key, ended by "t=".
func fieldStart(algorithm, domain, selector string) string {
	return "DKIM-Signature: v=1; a=" + algorithm + "; c=relaxed/relaxed;\r\n\td=" + domain + ";\r\n\ts=" + selector + ";\r\n\tt="
}

// appendField appends the whole field of one key to dst.
func (k *Key) appendField(dst []byte, w *work, now, expiry time.Time) ([]byte, error) {
	start := len(dst)
	dst = append(dst, k.start...)
	dst = strconv.AppendInt(dst, now.Unix(), 10)
	if !expiry.IsZero() {
		dst = append(dst, "; x="...)
		dst = strconv.AppendInt(dst, expiry.Unix(), 10)
	}
	dst = append(dst, ';')
	dst = append(dst, w.common...)

	// The field itself is hashed last, its b= empty and without CRLF (RFC 6376
	// s. 3.7).
	signed := len(w.canon)
	const name = "DKIM-Signature"
	w.canon = appendRelaxed(w.canon, []byte(name), dst[start+len(name)+1:])
	digest := sha256.Sum256(w.canon)
	w.canon = w.canon[:signed]

	signature, err := k.sign(digest[:])
	if err != nil {
		return nil, err
	}
	return append(appendBase64(dst, signature), '\r', '\n'), nil
}

// appendBase64 appends data in lines of 72 characters; the first follows "\tb=".
func appendBase64(dst, data []byte) []byte {
	const line = 54 // octets that make 72 characters
	for len(data) > line {
		dst = base64.StdEncoding.AppendEncode(dst, data[:line])
		dst = append(dst, "\r\n\t "...)
		data = data[line:]
	}
	return base64.StdEncoding.AppendEncode(dst, data)
}
