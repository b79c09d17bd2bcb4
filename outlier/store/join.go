package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/outlier/detector"
)

// join brings the node to where the others are: the common seed, the states,
// the end of the stream, and where the node has missed a part of the stream,
// all counts.
func (s *Link) join(ctx context.Context) error {
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
func (s *Link) missed(ctx context.Context) (bool, error) {
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
func (s *Link) adoptSeed(ctx context.Context) error {
	s.src.Lock.Lock()
	mine := s.src.Detector.Seed()
	s.src.Lock.Unlock()
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
		// Nobody is known under it; whom the other nodes know comes in their place.
		s.src.Lock.Lock()
		s.src.Detector.Reseed(common)
		s.src.Lock.Unlock()
		s.last = "" // so that they are read
	}
	return nil
}

func (s *Link) readStates(ctx context.Context) error {
	all, err := s.rdb.HGetAll(ctx, s.prefix+"states").Result()
	if err != nil {
		return err
	}
	s.joinStates(all)
	s.src.Tell()
	return nil
}

// joinStates merges the states of the other nodes, by "scope name", with those of this
// one.
func (s *Link) joinStates(all map[string]string) {
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	var spelled []*State
	for _, text := range all {
		var st State
		if json.Unmarshal([]byte(text), &st) != nil {
			continue
		}
		if st.Name == s.src.Name(st.Who()) {
			s.src.Merge(&st)
		} else {
			spelled = append(spelled, &st)
		}
	}
	for _, st := range spelled {
		s.Forget(st.Who())
		if s.src.Adopt(st) {
			s.State(st)
		}
	}
	for st := range s.src.States() {
		if theirs, ok := all[st.Scope+" "+st.Name]; ok {
			var t State
			if json.Unmarshal([]byte(theirs), &t) == nil && !st.Over(&t) {
				continue
			}
		}
		s.State(st) // came while Redis was away, or before it was there
	}
}

// store writes the meters that have changed here.
func (s *Link) store(ctx context.Context) {
	s.src.Lock.Lock()
	meters := s.src.Detector.Touched()
	s.src.Lock.Unlock()
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

// storeKnown writes the parts of the sketch that have changed, each with what the other
// nodes have written there, and reports whether it has written all.
func (s *Link) storeKnown(ctx context.Context) bool {
	told := false
	for chunk := 0; ctx.Err() == nil; chunk++ {
		s.src.Lock.Lock()
		k, since := s.src.Detector.Known(), s.src.Detector.KnownSince()
		if chunk >= k.Chunks() {
			s.src.Lock.Unlock()
			return true
		}
		_, changed := k.Changed(chunk)
		s.src.Lock.Unlock()
		if !changed {
			continue
		}
		_, err := s.mergeChunk(ctx, chunk)
		s.src.Lock.Lock()
		if s.src.Detector.Known() != k { // of another seed meanwhile
			s.src.Lock.Unlock()
			return false
		}
		k.Again(chunk) // it may have changed
		b, _ := k.Changed(chunk)
		s.src.Lock.Unlock()
		if !told {
			s.storeSince(ctx, k.Size(), since)
			told = true
		}
		if err == nil {
			err = s.rdb.Set(ctx, s.knownKey(k.Size(), chunk), b, idleExpiry).Err()
		}
		if err != nil {
			s.src.Lock.Lock()
			k.Again(chunk)
			s.src.Lock.Unlock()
			return false
		}
	}
	return false
}

// knownKey names the size too: nodes with another max_known do not read it.
func (s *Link) knownKey(buckets, chunk int) string {
	return s.loose + "known:" + strconv.Itoa(buckets) + ":" + strconv.Itoa(chunk)
}

// readKnown reads whom the other nodes know, and since when. Where there is nothing to
// read, this node's own table begins now, if it is blank.
func (s *Link) readKnown(ctx context.Context) error {
	s.src.Lock.Lock()
	k := s.src.Detector.Known()
	blank := k.Blank()
	s.src.Lock.Unlock()
	found, err := s.mergeKnown(ctx)
	if err != nil {
		return err
	}
	since, err := s.knownSince(ctx, k.Size())
	if err != nil {
		return err
	}
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	d := s.src.Detector
	switch {
	case found && blank:
		d.SetKnownSince(since)
	case found:
		d.SetKnownSince(min(d.KnownSince(), since))
	case blank:
		d.KnownFrom(s.src.Now().Unix())
	}
	return nil
}

// knownSince is the day since which the nodes keep the sketch of that size; 0 where it is
// not known, as of an earlier release.
func (s *Link) knownSince(ctx context.Context, size int) (uint16, error) {
	day, err := s.rdb.Get(ctx, s.sinceKey(size)).Uint64()
	if err == redis.Nil || day > math.MaxUint16 {
		return 0, nil
	}
	return uint16(day), err
}

// storeSince writes since when the sketch is kept, unless another node keeps it for longer.
func (s *Link) storeSince(ctx context.Context, size int, day uint16) {
	key := s.sinceKey(size)
	stored, err := s.rdb.Get(ctx, key).Uint64()
	if err == nil && stored <= uint64(day) {
		s.rdb.Expire(ctx, key, idleExpiry)
		return
	}
	if err == nil || err == redis.Nil {
		s.rdb.Set(ctx, key, strconv.Itoa(int(day)), idleExpiry)
	}
}

func (s *Link) sinceKey(buckets int) string { return s.knownKey(buckets, -1) }

// readMeters reads what the nodes have stored about everybody: counts, and where users
// are.
func (s *Link) readMeters(ctx context.Context) error {
	if c, ok := s.rdb.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return s.scan(ctx, node) })
	}
	return s.scan(ctx, s.rdb)
}

func (s *Link) scan(ctx context.Context, node redis.Cmdable) error {
	match := strings.NewReplacer("[", `\[`, "?", `\?`, "*", `\*`, `\`, `\\`).Replace(s.loose) + "[mw]:*"
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
				s.takeStored(k[len(s.loose):], b)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// takeStored merges what stands under a key.
func (s *Link) takeStored(key string, b []byte) {
	switch kind, name := key[:2], key[2:]; kind {
	case "m:":
		s.takeMeter(name, b)
	case "w:":
		s.takePlace(name, b)
	}
}

// takeMeter merges a meter that another node has stored; what is damaged is left out.
func (s *Link) takeMeter(key string, b []byte) {
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	_ = s.src.Detector.Merge(s.src.Now().Unix(), key, b, s.src.Name)
}
