package store

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/redis/go-redis/v9"
)

// Where users are is shared in two ways: what is new of a user goes over the stream, and
// stands under a key of that user, for nodes that join.

const (
	// keepPlaces is how long what is known of a user is stored, and keepYoung for one in
	// its first days.
	keepPlaces = 180 * 24 * time.Hour
	keepYoung  = 7 * 24 * time.Hour
)

func (s *Link) placeKey(key string) string { return s.loose + "w:" + key }

// sendPlaces tells what is new of where users are. What is stored of a user is read
// before it is written, since another node may know more. What fails is told later.
func (s *Link) sendPlaces(ctx context.Context) error {
	for {
		s.src.Lock.Lock()
		changed, gone := s.src.Places.Changed(maxPipelined)
		s.src.Lock.Unlock()
		if len(changed)+len(gone) == 0 {
			return nil
		}
		if err := s.tellPlaces(ctx, changed, gone); err != nil {
			s.src.Lock.Lock()
			s.src.Places.Again(changed, gone)
			s.src.Lock.Unlock()
			return err
		}
	}
}

// tellPlaces tells of some users, and takes away those who are forgotten.
func (s *Link) tellPlaces(ctx context.Context, changed, gone []string) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := s.readPlaces(ctx, changed); err != nil {
		return err
	}
	var notes [][]byte
	p := s.rdb.Pipeline()
	s.src.Lock.Lock()
	for _, k := range changed {
		value, lasting := s.src.Places.Tell(k)
		if value == nil {
			continue // forgotten meanwhile
		}
		keep := keepYoung
		if lasting {
			keep = keepPlaces
		}
		p.Set(ctx, s.placeKey(k), value, keep)
		notes = append(notes, appendPlace(nil, k, value))
	}
	s.src.Lock.Unlock()
	for _, entry := range joined(notes) {
		s.append(ctx, p, "w", entry)
	}
	for _, k := range gone {
		p.Del(ctx, s.placeKey(k))
	}
	_, err := p.Exec(ctx)
	return err
}

// readPlaces merges what is stored of some users.
func (s *Link) readPlaces(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	p := s.rdb.Pipeline()
	stored := make([]*redis.StringCmd, len(keys))
	for i, k := range keys {
		stored[i] = p.Get(ctx, s.placeKey(k))
	}
	if _, err := p.Exec(ctx); err != nil && err != redis.Nil {
		return err
	}
	for i, k := range keys {
		if b, err := stored[i].Bytes(); err == nil {
			s.takePlace(k, b)
		}
	}
	return nil
}

// takePlace merges what another node knows of a user; what is damaged is left out.
func (s *Link) takePlace(key string, value []byte) {
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	_ = s.src.Places.Merge(key, value, s.src.Now().Unix())
}

// appendPlace writes a user behind b: its key and what is known of it, each with its
// length in front.
func appendPlace(b []byte, key string, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// takePlaces merges the users of an entry of the stream.
func (s *Link) takePlaces(entry []byte) {
	for len(entry) > 0 {
		key, rest, ok := cutPart(entry)
		value, rest, is := cutPart(rest)
		if !ok || !is {
			return
		}
		s.takePlace(string(key), value)
		entry = rest
	}
}

// cutPart takes one part with its length in front.
func cutPart(b []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}
