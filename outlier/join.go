package outlier

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/outlier/detector"
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
	mine := w.detector.Seed()
	w.mu.Unlock()
	if err := s.rdb.SetNX(ctx, s.prefix+"seed", mine.Bytes(), 0).Err(); err != nil {
		return err
	}
	b, err := s.rdb.Get(ctx, s.prefix+"seed").Bytes()
	if err != nil {
		return err
	}
	if len(b) != detector.SeedSize {
		return errors.New("seed in Redis is damaged")
	}
	if common := detector.ReadSeed(b); common != mine {
		w.mu.Lock()
		w.reseed(common)
		w.mu.Unlock()
	}
	return nil
}

// reseed takes another seed, under which nobody is known; whom the other nodes know
// comes in their place.
func (w *Watch) reseed(common detector.Seed) {
	if w.keep != nil {
		w.keep.reseeded = true
	}
	w.detector.Reseed(common)
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
		if st.Name == w.nameOf(st.who()) {
			w.merge(&st)
		} else {
			spelled = append(spelled, &st)
		}
	}
	for _, st := range spelled {
		s.adopt(st)
	}
	for k, st := range w.states {
		if theirs, ok := all[k.Scope+" "+k.Name]; ok {
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

// store writes the meters that have changed here.
func (s *share) store(ctx context.Context) {
	s.w.mu.Lock()
	meters := s.w.detector.Touched()
	s.w.mu.Unlock()
	for len(meters) > 0 && ctx.Err() == nil {
		n := min(len(meters), maxPipelined)
		p := s.rdb.Pipeline()
		for _, m := range meters[:n] {
			keep := idleExpiry
			if m.Regular {
				keep = detector.RegularDays * 24 * time.Hour // it may come again
			}
			p.Set(ctx, s.loose+"m:"+m.Key, m.Value, keep)
		}
		if _, err := p.Exec(ctx); err != nil {
			return // the next change writes it again
		}
		meters = meters[n:]
	}
}

// storeKnown writes the parts of the sketch that have changed.
func (s *share) storeKnown(ctx context.Context) {
	w := s.w
	for chunk := 0; ctx.Err() == nil; chunk++ {
		w.mu.Lock()
		k := w.detector.Known()
		if chunk >= k.Chunks() {
			w.mu.Unlock()
			return
		}
		b, changed := k.Changed(chunk)
		w.mu.Unlock()
		if !changed {
			continue
		}
		if err := s.rdb.Set(ctx, s.knownKey(k.Size(), chunk), b, idleExpiry).Err(); err != nil {
			w.mu.Lock()
			k.Again(chunk)
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
	k := w.detector.Known()
	w.mu.Unlock()
	for chunk := range k.Chunks() {
		b, err := s.rdb.Get(ctx, s.knownKey(k.Size(), chunk)).Bytes()
		if err == redis.Nil {
			continue
		} else if err != nil {
			return err
		}
		w.mu.Lock()
		k.Merge(chunk, b)
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

// takeMeter merges a meter that another node has stored; what is damaged is left out.
func (s *share) takeMeter(key string, b []byte) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.detector.Merge(w.clock.read().Unix(), key, b, w.nameOf)
}
