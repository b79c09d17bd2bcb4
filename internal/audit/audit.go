// Package audit keeps who had a running relay do what, and why: a file of JSON lines,
// each of which holds the SHA-256 of the line before and one of its own, so that an
// edit, a line that is gone and one that was put in between show.
//
// A line is on the disk before what it tells of is done. Where the disk does not take
// it, who asks decides: what makes the relay stricter is done all the same, and the line
// waits in memory.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Entry is what a line tells.
type Entry struct {
	// ID is that of the act; the line before it and the one behind it share it.
	ID     string `json:"id"`
	Actor  string `json:"actor"`
	Role   string `json:"role,omitempty"`
	Door   string `json:"door"`
	Remote string `json:"remote,omitempty"` // address
	Verb   string `json:"verb"`
	Target string `json:"target,omitempty"`
	Reason string `json:"reason,omitempty"`
	Undoes string `json:"undoes,omitempty"` // id of the act that this one takes back
	// Before and After are the state of the target; After stands behind the act only.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Result is Begun before the act, and Done or what went wrong behind it.
	Result string `json:"result"`
}

// Results.
const (
	Begun = "begun"
	Done  = "done"
)

// Line is an Entry as the file has it.
type Line struct {
	Seq  int64     `json:"seq"` // counts lines, from 1
	Time time.Time `json:"time"`
	Entry
	// Lost is how many lines before this one were lost while the disk took none.
	Lost int    `json:"lost,omitempty"`
	Prev string `json:"prev"` // SHA-256 of the line before; "" of the first
	Sum  string `json:"sum"`  // of this line up to here
}

const (
	maxReason = 500
	maxTarget = 1000
	maxState  = 4 << 10
	// maxLine is longer than any line can be.
	maxLine = 32 << 10
)

// bound cuts what somebody could make long.
func (e *Entry) bound() {
	for _, f := range []struct {
		text *string
		most int
	}{{&e.Actor, 300}, {&e.Remote, 100}, {&e.Verb, 100}, {&e.Target, maxTarget}, {&e.Reason, 2 * maxReason}, {&e.Undoes, 100}, {&e.Result, maxTarget}} {
		if len(*f.text) > f.most {
			*f.text = (*f.text)[:f.most] + "..."
		}
		if !utf8.ValidString(*f.text) {
			*f.text = string(bytes.ToValidUTF8([]byte(*f.text), []byte("\ufffd")))
		}
	}
	for _, state := range []*json.RawMessage{&e.Before, &e.After} {
		if len(*state) > maxState {
			*state = json.RawMessage(`"too long"`)
		}
	}
}

// State is what a line says of a state; a value that cannot be written says so.
func State(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"cannot be written"`)
	}
	return text
}

// chain is where the next line goes on.
type chain struct {
	seq  int64
	last string // SHA-256 of the last line
}

// next is the text of a line, without its line end, and the chain behind it.
func (c chain) next(e Entry, now time.Time, lost int) ([]byte, chain, error) {
	e.bound()
	text, err := json.Marshal(Line{Seq: c.seq + 1, Time: now.UTC(), Entry: e, Lost: lost, Prev: c.last})
	if err != nil {
		return nil, c, err
	}
	text = bytes.TrimSuffix(text, []byte(`,"sum":""}`))
	text = fmt.Appendf(text, `,"sum":"%s"}`, sum(text))
	return text, chain{c.seq + 1, sum(text)}, nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// read holds a line against the chain, and returns the chain behind it. A chain of
// seq -1 begins with whatever line comes first.
func (c chain) read(text []byte) (l Line, next chain, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		return l, c, errors.New("is not a line of an audit")
	}
	body, ok := bytes.CutSuffix(text, fmt.Appendf(nil, `,"sum":"%s"}`, l.Sum))
	switch {
	case !ok || sum(body) != l.Sum:
		return l, c, errors.New("was changed")
	case c.seq >= 0 && l.Seq != c.seq+1:
		return l, c, fmt.Errorf("has number %d where %d follows", l.Seq, c.seq+1)
	case c.seq >= 0 && l.Prev != c.last, l.Seq == 1 && l.Prev != "":
		return l, c, errors.New("does not follow the line before it")
	}
	return l, chain{l.Seq, sum(text)}, nil
}
