package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

// Page is a part of a list.
type Page[T any] struct {
	Items []T `json:"items"` // never null
	// Total is how many there are on all pages.
	Total int `json:"total"`
	// Next is the cursor of the next page; missing: this is the last.
	Next string `json:"next,omitempty"`
}

// PageQuery says which part of a list is wanted.
type PageQuery struct {
	Limit  int    `query:"limit" doc:"How many at most, from 1 to 1000; 100 where it is missing."`
	Cursor string `query:"cursor" doc:"The next of the page before; it holds for the same query only."`
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxCursor    = 1024
)

func (q *PageQuery) limit() (int, error) {
	switch {
	case q.Limit == 0:
		return defaultLimit, nil
	case q.Limit < 0 || q.Limit > maxLimit:
		return 0, invalid("limit: %d is not from 1 to %d", q.Limit, maxLimit)
	}
	return q.Limit, nil
}

// begin is how many items a page of a query has at most, and where it begins.
func (q *PageQuery) begin(of any) (limit int, c cursor, err error) {
	if limit, err = q.limit(); err != nil {
		return 0, c, err
	}
	c, err = readCursor(q.Cursor, digest(of))
	return limit, c, err
}

// cursor is where a page begins. It is kept by who reads the pages, and by nobody else.
type cursor struct {
	At    int    `json:"a"`           // position in the list, where After is no longer in it
	After string `json:"k,omitempty"` // key of the last item of the page before
	Query string `json:"q"`           // digest of the query
	Time  int64  `json:"t,omitempty"` // when that item ended, in nanoseconds; of events
	File  int    `json:"f,omitempty"` // which journal; of events
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // cannot fail: text and numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

// readCursor reads one that was made for the same query; the zero cursor for "".
func readCursor(text, query string) (c cursor, err error) {
	if text == "" {
		return cursor{Query: query}, nil
	}
	bad := invalid("cursor: is not the next of a page of this query")
	if len(text) > maxCursor {
		return c, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || json.Unmarshal(b, &c) != nil || c.Query != query || c.At < 0 || c.File < 0 || c.File > 1 {
		return cursor{}, bad
	}
	return c, nil
}

// digest tells queries apart; paging is not part of one.
func digest(q any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%T %+v", q, q))
	return hex.EncodeToString(sum[:6])
}

// pageOf cuts a page out of a list. key tells items apart, so that a list that changes
// meanwhile loses none of those that stay.
func pageOf[T any](list []T, key func(*T) string, q PageQuery, of any) (p Page[T], err error) {
	limit, c, err := q.begin(of)
	if err != nil {
		return p, err
	}
	start := min(c.At, len(list))
	// It is mostly where it was.
	if c.After != "" && (start == 0 || key(&list[start-1]) != c.After) {
		for i := range list {
			if key(&list[i]) == c.After {
				start = i + 1
				break
			}
		}
	}
	end := min(start+limit, len(list))
	p = Page[T]{Items: append([]T{}, list[start:end]...), Total: len(list)}
	if end < len(list) && end > start {
		p.Next = cursor{At: end, After: key(&list[end-1]), Query: c.Query}.String()
	}
	return p, nil
}

// keyOf joins the parts of a key. A length stands before each, so that no part can be
// taken for another; a long key is told apart by its hash.
func keyOf(parts ...string) string {
	key := ""
	for _, p := range parts {
		key += strconv.Itoa(len(p)) + " " + p
	}
	if len(key) > 256 {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return key
}
