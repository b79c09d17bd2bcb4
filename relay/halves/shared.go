package halves

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// What nodes share lies under two keys for each client, which a Cluster keeps
// together: a hash from recipients to their records, and a sorted set of what is in
// it, by the time at which it ends. Both expire with the last of them.

// shared is the memory in Redis.
type shared struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	most    int         // recipients of one client
	up      atomic.Bool // the last write went well
}

// reserveFor is how long room that was made lasts: longer than a message can take.
const reserveFor = time.Hour

// cut is how a record stands in Redis: sum, kind, end in milliseconds, id.
const cut = 16 + 1 + 8 + 20

// reserveScript takes from KEYS[1] and KEYS[2] what has ended, and makes room for
// ARGV[3] recipients where no more than ARGV[2] are there then. ARGV[1] is now,
// ARGV[4] when the room ends, ARGV[5] its name.
var reserveScript = redis.NewScript(`
for _, e in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 500)) do
  redis.call('HDEL', KEYS[1], e)
  redis.call('ZREM', KEYS[2], e)
end
local n = tonumber(ARGV[3])
if redis.call('ZCARD', KEYS[2]) + n > tonumber(ARGV[2]) then return 0 end
for i = 1, n do redis.call('ZADD', KEYS[2], ARGV[4], 'room ' .. ARGV[5] .. ' ' .. i) end
local ttl = tonumber(ARGV[4]) - tonumber(ARGV[1])
if redis.call('PTTL', KEYS[2]) < ttl then redis.call('PEXPIRE', KEYS[2], ttl) end
return 1
`)

// keepScript gives back the room called ARGV[1] for ARGV[2] recipients and writes
// records that end at ARGV[3], in ARGV[4] milliseconds, at the latest: a recipient and
// its record follow by turns. A recipient has one record for each content, the newest
// 16 at most.
var keepScript = redis.NewScript(`
for i = 1, tonumber(ARGV[2]) do redis.call('ZREM', KEYS[2], 'room ' .. ARGV[1] .. ' ' .. i) end
for i = 5, #ARGV, 2 do
  local e, r = ARGV[i], ARGV[i+1]
  local old = redis.call('HGET', KEYS[1], e) or ''
  local all = r
  for at = 1, #old - #r + 1, #r do
    if string.sub(old, at, at + 15) ~= string.sub(r, 1, 16) and #all < 16 * #r then
      all = all .. string.sub(old, at, at + #r - 1)
    end
  end
  redis.call('HSET', KEYS[1], e, all)
  redis.call('ZADD', KEYS[2], ARGV[3], e)
end
if #ARGV > 4 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 1
`)

// settleScript has the record of content ARGV[1] end at ARGV[2] at the latest, eight
// octets as a record has them, or forgets it where that is blank. The recipients follow.
// Ends are compared as numbers: strings are by the locale of the server.
var settleScript = redis.NewScript(`
local size = 45
local function number(octets)
  local n = 0
  for i = 1, #octets do n = n * 256 + string.byte(octets, i) end
  return n
end
for i = 3, #ARGV do
  local e = ARGV[i]
  local old, all = redis.call('HGET', KEYS[1], e) or '', ''
  for at = 1, #old - size + 1, size do
    local r = string.sub(old, at, at + size - 1)
    if string.sub(r, 1, 16) == ARGV[1] then
      if ARGV[2] == '' then
        r = ''
      elseif number(ARGV[2]) < number(string.sub(r, 18, 25)) then
        r = string.sub(r, 1, 17) .. ARGV[2] .. string.sub(r, 26)
      end
    end
    all = all .. r
  end
  if all == '' then
    redis.call('HDEL', KEYS[1], e)
    redis.call('ZREM', KEYS[2], e)
  else
    redis.call('HSET', KEYS[1], e, all)
  end
end
return 1
`)

func (s *shared) keys(client hash) []string {
	name := s.prefix + "{" + hex.EncodeToString(client[:]) + "}"
	return []string{name, name + ":ends"}
}

// within bounds one question.
func (s *shared) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
}

func (s *shared) noted(err error) error {
	s.up.Store(err == nil)
	if err != nil {
		return fmt.Errorf("memory of halves in Redis: %w", err)
	}
	return nil
}

// probe sees whether Redis takes writes, and returns the key that all nodes use: own,
// where there is none.
func (s *shared) probe(ctx context.Context, own [32]byte) (key [32]byte, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	name := s.prefix + "key"
	err = s.client.SetArgs(ctx, name, hex.EncodeToString(own[:]), redis.SetArgs{Mode: "NX"}).Err()
	if errors.Is(err, redis.Nil) { // there is one
		err = nil
	}
	var text string
	if err == nil {
		text, err = s.client.Get(ctx, name).Result()
	}
	if err == nil {
		var b []byte
		if b, err = hex.DecodeString(text); err == nil && len(b) != len(key) {
			err = errors.New("the key is damaged")
		}
		copy(key[:], b)
	}
	if err == nil {
		err = s.client.Set(ctx, s.prefix+"probe", "", time.Minute).Err()
	}
	return key, s.noted(err)
}

func (s *shared) reserve(ctx context.Context, client hash, id string, n int, now time.Time) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	ok, err := reserveScript.Run(ctx, s.client, s.keys(client), now.UnixMilli(), s.most, n, now.Add(reserveFor).UnixMilli(), id).Int()
	if err = s.noted(err); err == nil && ok == 0 {
		err = ErrFull
	}
	return err
}

func (s *shared) cancel(ctx context.Context, client hash, id string, n int) {
	s.keep(ctx, client, id, n, nil, time.Time{}) // else it ends by itself
}

func (s *shared) keep(ctx context.Context, client hash, id string, n int, records []record, now time.Time) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	args := []any{id, n, now.Add(keepFor).UnixMilli(), keepFor.Milliseconds()}
	for i := range records {
		args = append(args, string(records[i].to[:]), string(short(&records[i])))
	}
	return s.noted(keepScript.Run(ctx, s.client, s.keys(client), args...).Err())
}

// short is a record as it stands in Redis.
func short(r *record) []byte {
	b := append([]byte(nil), r.sum[:]...)
	b = append(append(b, r.kind), millis(r.until)...)
	return append(b, r.id[:]...)
}

func millis(t time.Time) []byte {
	n := t.UnixMilli()
	return []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// parseShort reads the records of one recipient; what is none is left out.
func parseShort(text string, now time.Time) (all []Known) {
	for ; len(text) >= cut; text = text[cut:] {
		r := record{sum: hash([]byte(text[:16])), kind: text[16], id: [20]byte([]byte(text[25:cut]))}
		var until int64
		for _, c := range []byte(text[17:25]) {
			until = until<<8 | int64(c)
		}
		if now.UnixMilli() < until && (r.kind == kindTaken || r.kind == kindRefused) {
			all = append(all, (&entry{record: r}).known())
		}
	}
	return all
}

// look returns what is known of recipients; it does not ask where Redis was away a
// moment ago.
func (s *shared) look(ctx context.Context, client hash, to []hash, now time.Time) (known [][]Known, err error) {
	if !s.up.Load() {
		return nil, errors.New("redis is away")
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	fields := make([]string, len(to))
	for i := range to {
		fields[i] = string(to[i][:])
	}
	all, err := s.client.HMGet(ctx, s.keys(client)[0], fields...).Result()
	if err = s.noted(err); err != nil {
		return nil, err
	}
	for _, v := range all {
		text, _ := v.(string)
		known = append(known, parseShort(text, now))
	}
	return known, nil
}

func (s *shared) settle(ctx context.Context, client hash, to []hash, sum hash, until time.Time) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	end := ""
	if !until.IsZero() {
		end = string(millis(until))
	}
	args := []any{string(sum[:]), end}
	for i := range to {
		args = append(args, string(to[i][:]))
	}
	s.noted(settleScript.Run(ctx, s.client, s.keys(client), args...).Err())
}
