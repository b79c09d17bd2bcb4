package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"postern/ratelimit"
)

// What the scripts read and answer; the forms stand in batch.lua,
// take.lua, refund.lua and record.lua. Big-endian throughout.

var be = binary.BigEndian

func appendCount(b []byte, n int) []byte { return be.AppendUint16(b, uint16(n)) }

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(be.AppendUint16(b, uint16(len(s))), s...)
}

func appendBool(b []byte, on bool) []byte {
	if on {
		return append(b, 1)
	}
	return append(b, 0)
}

// append48 writes the lower 48 bits.
func append48(b []byte, n int64) []byte {
	return be.AppendUint32(be.AppendUint16(b, uint16(n>>32)), uint32(n))
}

func wireID(u ratelimit.Unit, length time.Duration) uint32 {
	return uint32(length/time.Second)*4 + uint32(u)
}

// checkSize says whether the counts of b fit their fields. No configuration that
// is of use comes near.
func checkSize(b *ratelimit.Batch) error {
	if len(b.Budgets) > math.MaxUint16 || len(b.Requests) > math.MaxUint16 {
		return fmt.Errorf("%d recipients and %d budgets are too many for one decision", len(b.Requests), len(b.Budgets))
	}
	for i := range b.Budgets {
		g := &b.Budgets[i]
		if len(g.Windows) > math.MaxUint8 {
			return fmt.Errorf("limit %q has %d windows; 255 are the most", g.Limit, len(g.Windows))
		}
		for j := range g.Windows {
			if len(g.Windows[j].Reserve) > math.MaxUint8 {
				return fmt.Errorf("limit %q has %d reserves; 255 are the most", g.Limit, len(g.Windows[j].Reserve))
			}
		}
	}
	return nil
}

func encodeBatch(b *ratelimit.Batch, totals []total, skip []bool) []byte {
	out := make([]byte, 0, 8+96*len(b.Budgets)+32*len(b.Requests))
	out = appendCount(out, len(b.Budgets))
	for i := range b.Budgets {
		out = appendBudget(out, &b.Budgets[i], &totals[i])
	}
	out = appendCount(out, len(b.Requests))
	for i := range b.Requests {
		out = appendRequest(out, &b.Requests[i], skip != nil && skip[i])
	}
	return out
}

func appendBudget(b []byte, g *ratelimit.Budget, t *total) []byte {
	var flags byte
	if g.Shadow {
		flags |= 1
	}
	if g.Paid {
		flags |= 2
	}
	if isDivided(g) {
		flags |= 4
	}
	b = append(b, flags, byte(len(g.Windows)), byte(t.messages))
	b = be.AppendUint64(be.AppendUint64(b, uint64(t.recipients)), uint64(t.bytes))
	b = appendText(b, g.Share)
	for i := range g.Windows {
		w := &g.Windows[i]
		b = be.AppendUint32(b, wireID(w.Unit, w.Length))
		b = be.AppendUint64(b, uint64(w.Max))
		b = append(b, byte(len(w.Reserve)))
		for _, r := range w.Reserve {
			b = be.AppendUint64(appendText(b, r.Share), uint64(r.Min))
		}
	}
	return b
}

func appendRequest(b []byte, q *ratelimit.Request, skip bool) []byte {
	b = be.AppendUint64(b, uint64(q.Recipients))
	b = be.AppendUint64(b, uint64(q.Bytes))
	var flags byte
	if skip {
		flags |= 1
	}
	if q.Distinct != 0 {
		flags |= 2
	}
	b = append(b, flags)
	b = appendCount(b, len(q.Refs))
	if q.Distinct != 0 {
		b = be.AppendUint64(be.AppendUint64(be.AppendUint64(b, q.Distinct), q.Former), q.Plain)
	}
	for _, ref := range q.Refs {
		b = appendCount(b, ref+1)
	}
	return b
}

func appendReturn(b []byte, key int, r *ratelimit.Return) []byte {
	b = appendText(appendCount(b, key), r.Budget.Share)
	b = append(b, byte(len(r.Budget.Windows)))
	for i := range r.Budget.Windows {
		w := &r.Budget.Windows[i]
		b = appendBool(be.AppendUint32(b, wireID(w.Unit, w.Length)), w.Reserve != nil)
	}
	b = append48(b, r.At)
	for _, n := range []int64{r.Messages, r.Recipients, r.Bytes} {
		b = be.AppendUint64(b, uint64(max(0, n)))
	}
	return be.AppendUint64(appendBool(b, r.Distinct != 0), r.Distinct)
}

func appendRecord(b []byte, key int, r *ratelimit.Record) []byte {
	b = be.AppendUint32(appendCount(b, key), wireID(r.Unit, r.Length))
	share := r.Share
	if r.Unit == ratelimit.DistinctRecipients && !r.Plain {
		share = keyedShare
	}
	b = append48(appendText(b, share), max(0, r.Age.Milliseconds()))
	b = be.AppendUint64(b, uint64(max(0, r.N)))
	return append(be.AppendUint64(appendBool(b, r.Distinct != 0), r.Distinct), r.Level)
}

// keyedShare is the share of sections of distinct recipients, KEYED of
// state.lua.
const keyedShare = "\x01"

var errAnswer = errors.New("the script's answer is cut short")

// reader takes an answer apart.
type reader struct {
	rest  string
	short bool
}

func (r *reader) take(n int) string {
	if len(r.rest) < n {
		r.short, r.rest = true, ""
		return "\x00\x00\x00\x00\x00\x00\x00\x00"[:n]
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) number(octets int) (n int64) {
	for _, c := range []byte(r.take(octets)) {
		n = n<<8 | int64(c)
	}
	return n
}

func (r *reader) flag() bool { return r.take(1)[0] == 1 }

func (r *reader) millis() time.Duration { return time.Duration(r.number(8)) * time.Millisecond }

// decodeBatch reads the answer about b into result, but leaves what stands there of
// requests that were skipped. What earlier rounds saw of a window stays.
func decodeBatch(b *ratelimit.Batch, text string, o *outlook, skip []bool, result *ratelimit.Result) error {
	r := reader{rest: text}
	if r.flag() && o.mark != "" {
		return decodeQuick(b, &r, o, result)
	}
	at := r.number(6)
	for i := range result.Budgets {
		g := &result.Budgets[i]
		g.Paid = r.flag()
		for j := range g.Windows {
			w := &g.Windows[j]
			w.Max, w.Used = r.number(8), r.number(8)
			w.Refused = r.flag() || w.Refused
			w.Near = r.flag() || w.Near
			if w.Free = r.millis(); w.Free < 0 {
				w.Free = -1
			}
		}
	}
	for i := range result.Requests {
		q := &result.Requests[i]
		if skip != nil && skip[i] {
			q = &ratelimit.RequestResult{Charges: make([]ratelimit.Charge, len(q.Charges))}
		}
		r.request(q, at)
		if q.Budget >= len(b.Budgets) {
			return fmt.Errorf("answer of the script: budget %d of %d", q.Budget, len(b.Budgets))
		}
	}
	return r.end()
}

// end is an error unless all was read, and no more.
func (r *reader) end() error {
	if r.short || r.rest != "" {
		return errAnswer
	}
	return nil
}

func (r *reader) request(q *ratelimit.RequestResult, at int64) {
	q.OK, q.Down, q.Never, q.RetryAfter = r.flag(), false, r.flag(), r.millis()
	q.Budget, q.Window = int(max(0, r.number(2)-1)), int(max(0, r.number(2)-1))
	r.charges(q.Charges, at)
}

// charges reads the marks of charges.
func (r *reader) charges(all []ratelimit.Charge, at int64) {
	for i := range all {
		mark := r.take(1)[0]
		c := ratelimit.Charge{Made: mark == '1' || mark == '2', Message: mark == '2'}
		if c.Made {
			c.At = at
		}
		all[i] = c
	}
}
