package outlier

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// join brings the node to where the others are: the common seed, the states,
// the end of the stream, and where the node has missed a part of the stream,
// all counts.
func (s *share) join(ctx context.Context) error {
	if err := s.adoptSeed(ctx); err != nil {
		return err
	}
	if err := s.readStates(ctx); err != nil {
		return err
	}
	missed, err := s.missed(ctx)
	if err != nil || !missed {
		return err
	}
	last, err := s.rdb.XRevRangeN(ctx, s.prefix+"stream", "+", "-", 1).Result()
	if err != nil {
		return err
	}
	s.last = "0"
	if len(last) > 0 {
		s.last = last[0].ID
	}
	if err := s.readKnown(ctx); err != nil {
		return err
	}
	return s.readMeters(ctx)
}

// missed reports whether the stream no longer holds all that came after what
// was read last.
func (s *share) missed(ctx context.Context) (bool, error) {
	if s.last == "" {
		return true, nil
	}
	first, err := s.rdb.XRangeN(ctx, s.prefix+"stream", "-", "+", 1).Result()
	if err != nil {
		return false, err
	}
	return len(first) == 0 || olderID(s.last, first[0].ID), nil
}

// olderID compares ids of a stream, which are two numbers.
func olderID(a, b string) bool {
	a1, a2, _ := strings.Cut(a, "-")
	b1, b2, _ := strings.Cut(b, "-")
	x, _ := strconv.ParseUint(a1, 10, 64)
	y, _ := strconv.ParseUint(b1, 10, 64)
	if x != y {
		return x < y
	}
	x, _ = strconv.ParseUint(a2, 10, 64)
	y, _ = strconv.ParseUint(b2, 10, 64)
	return x < y
}

// adoptSeed agrees on one seed with the other nodes: the first one's holds.
func (s *share) adoptSeed(ctx context.Context) error {
	w := s.w
	w.mu.Lock()
	mine := w.engine.seed
	w.mu.Unlock()
	if err := s.rdb.SetNX(ctx, s.prefix+"seed", mine.bytes(), 0).Err(); err != nil {
		return err
	}
	b, err := s.rdb.Get(ctx, s.prefix+"seed").Bytes()
	if err != nil {
		return err
	}
	if len(b) != seedSize {
		return errors.New("seed in Redis is damaged")
	}
	if common := readSeed(b); common != mine {
		w.mu.Lock()
		w.reseed(common)
		w.mu.Unlock()
	}
	return nil
}

// reseed takes another seed. Meters move; recipients known under the old seed
// are lost, the other nodes' come in their place.
func (w *Watch) reseed(common seed) {
	old := w.engine
	if w.keep != nil {
		w.keep.reseeded = true
	}
	w.engine = newEngine(&w.rules.Config, common)
	for _, c := range old.byNum {
		w.engine.client(c.name, 0).born = c.born
	}
	old.roster.all(func(e *entry) bool {
		n, _ := w.engine.roster.get(e.scope, e.name, e.client, int64(e.last))
		n.meter = e.meter
		w.engine.roster.setRuns(n, old.roster.runsOf(e))
		return true
	})
}

func (s *share) readStates(ctx context.Context) error {
	all, err := s.rdb.HGetAll(ctx, s.prefix+"states").Result()
	if err != nil {
		return err
	}
	w := s.w
	w.mu.Lock()
	var spelled []*State
	for _, text := range all {
		var st State
		if json.Unmarshal([]byte(text), &st) != nil {
			continue
		}
		if st.Name == w.nameOf(st.Scope, st.Name) {
			w.merge(&st)
		} else {
			spelled = append(spelled, &st)
		}
	}
	for _, st := range spelled {
		s.adopt(st)
	}
	for k, st := range w.states {
		if theirs, ok := all[k.scope+" "+k.name]; ok {
			var t State
			if json.Unmarshal([]byte(theirs), &t) == nil && !st.over(&t) {
				continue
			}
		}
		s.state(st) // came while Redis was away, or before it was there
	}
	w.mu.Unlock()
	w.tell()
	return nil
}

// meterKey is where an entry is stored.
func (s *share) meterKey(sc scope, name string) string {
	return s.loose + "m:" + strconv.Itoa(int(sc)) + ":" + name
}

// store writes the meters that have changed here.
func (s *share) store(ctx context.Context) {
	type item struct {
		key   string
		value []byte
		keep  time.Duration
	}
	s.mu.Lock()
	changed := s.changed
	s.changed = map[*entry]string{}
	s.mu.Unlock()
	w := s.w
	items := make([]item, 0, len(changed))
	w.mu.Lock()
	for e, name := range changed {
		if e.used && e.name == name {
			var b writer
			b.str(w.engine.byNum[e.client].name)
			e.encode(&b)
			keep, rs := idleExpiry, w.engine.roster.runsOf(e)
			if rs != nil {
				keep = keepDays * 24 * time.Hour // it may come again
			}
			e.encodeTail(&b, rs)
			items = append(items, item{s.meterKey(e.scope, e.name), b, keep})
		}
	}
	w.mu.Unlock()
	for len(items) > 0 && ctx.Err() == nil {
		n := min(len(items), maxPipelined)
		p := s.rdb.Pipeline()
		for _, i := range items[:n] {
			p.Set(ctx, i.key, i.value, i.keep)
		}
		if _, err := p.Exec(ctx); err != nil {
			return // the next change writes it again
		}
		items = items[n:]
	}
}

// storeKnown writes the parts of the sketch that have changed.
func (s *share) storeKnown(ctx context.Context) {
	w := s.w
	for chunk := 0; ctx.Err() == nil; chunk++ {
		w.mu.Lock()
		k := w.engine.known
		if chunk*chunkBuckets >= len(k.buckets) {
			w.mu.Unlock()
			return
		}
		if k.dirty[chunk/64]&(1<<(chunk%64)) == 0 {
			w.mu.Unlock()
			continue
		}
		k.dirty[chunk/64] &^= 1 << (chunk % 64)
		b := k.chunk(chunk)
		w.mu.Unlock()
		if err := s.rdb.Set(ctx, s.knownKey(len(k.buckets), chunk), b, idleExpiry).Err(); err != nil {
			w.mu.Lock()
			k.dirty[chunk/64] |= 1 << (chunk % 64)
			w.mu.Unlock()
			return
		}
	}
}

// knownKey names the size too: nodes with another max_known do not read it.
func (s *share) knownKey(buckets, chunk int) string {
	return s.loose + "known:" + strconv.Itoa(buckets) + ":" + strconv.Itoa(chunk)
}

func (s *share) readKnown(ctx context.Context) error {
	w := s.w
	w.mu.Lock()
	k := w.engine.known
	n := len(k.buckets)
	w.mu.Unlock()
	for chunk := range n / chunkBuckets {
		b, err := s.rdb.Get(ctx, s.knownKey(n, chunk)).Bytes()
		if err == redis.Nil {
			continue
		} else if err != nil {
			return err
		}
		w.mu.Lock()
		k.merge(chunk, b)
		w.mu.Unlock()
	}
	return nil
}

// readMeters reads what the nodes have stored about everybody.
func (s *share) readMeters(ctx context.Context) error {
	if c, ok := s.rdb.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return s.scan(ctx, node) })
	}
	return s.scan(ctx, s.rdb)
}

func (s *share) scan(ctx context.Context, node redis.Cmdable) error {
	match := strings.NewReplacer("[", `\[`, "?", `\?`, "*", `\*`, `\`, `\\`).Replace(s.loose) + "m:*"
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, match, 500).Result()
		if err != nil {
			return err
		}
		p := s.rdb.Pipeline()
		values := make([]*redis.StringCmd, len(keys))
		for i, k := range keys {
			values[i] = p.Get(ctx, k)
		}
		if len(keys) > 0 {
			if _, err := p.Exec(ctx); err != nil && err != redis.Nil {
				return err
			}
		}
		for i, k := range keys {
			if b, err := values[i].Bytes(); err == nil {
				s.takeMeter(k[len(s.loose)+len("m:"):], b)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// takeMeter merges a stored meter: the one that counted last holds, with the
// higher of both records.
func (s *share) takeMeter(key string, b []byte) {
	number, name, _ := strings.Cut(key, ":")
	sc, err := strconv.Atoi(number)
	if err != nil || sc < 0 || sc >= int(scopes) || name == "" {
		return
	}
	r := &reader{rest: b}
	client := r.str()
	var m meter
	m.decode(r)
	var rs *runs
	if len(r.rest) > 0 { // what earlier releases stored ends here
		rs = m.decodeTail(r)
	} else {
		m.put(isOld, true)
	}
	if r.bad || client == "" {
		return
	}
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.clock.read().Unix(); int64(m.last) > now {
		m.last = uint32(now)
	}
	own := w.meterName(scope(sc), name)
	e, isNew := w.engine.roster.get(scope(sc), own, w.engine.client(client, int64(m.born)*daySeconds).num, int64(m.last))
	rs = later(rs, w.engine.roster.runsOf(e))
	switch {
	case isNew:
	case own != name:
		m.join(e.meter)
	default:
		m.mergeRecords(&e.meter)
		if e.last > m.last {
			m, e.meter = e.meter, m
			m.mergeRecords(&e.meter)
		}
	}
	e.meter = m
	w.engine.roster.setRuns(e, rs)
	if c := w.engine.byNum[e.client]; scope(sc) == ofClient {
		c.born = min(c.born, m.born)
	}
}

func (m *meter) mergeRecords(o *meter) {
	for k := range kinds {
		for w := range windows {
			m.record[k][w] = max(m.record[k][w], o.record[k][w])
		}
	}
	m.born = min(m.born, o.born)
}
