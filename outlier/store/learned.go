package store

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A node that has read its journal knows more than it has told event by event. It writes
// its table of known recipients, and counts a key up: the others read the table then.

func (s *Link) learnedKey() string { return s.loose + "learned" }

// Learned says that more recipients are known here than was told.
func (s *Link) Learned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learned = true
}

// shareLearned tells the others, if the table is stored as a whole, and reads what they
// have told. What fails is done a minute later.
func (s *Link) shareLearned(ctx context.Context, stored bool) {
	s.mu.Lock()
	mine := s.learned && stored
	s.mu.Unlock()
	if mine {
		if s.rdb.Incr(ctx, s.learnedKey()).Err() != nil {
			return
		}
		s.mu.Lock()
		s.learned = false
		s.mu.Unlock()
	}
	n, err := s.rdb.Get(ctx, s.learnedKey()).Result()
	if err != nil || n == s.learnedSeen {
		return
	}
	if _, err := s.mergeKnown(ctx); err == nil {
		s.learnedSeen = n
	}
}

// mergeKnown makes known whom the other nodes have stored, and reports whether there was
// anything.
func (s *Link) mergeKnown(ctx context.Context) (found bool, err error) {
	s.src.Lock.Lock()
	chunks := s.src.Detector.Known().Chunks()
	s.src.Lock.Unlock()
	for chunk := range chunks {
		some, err := s.mergeChunk(ctx, chunk)
		if err != nil {
			return found, err
		}
		found = found || some
	}
	return found, nil
}

func (s *Link) mergeChunk(ctx context.Context, chunk int) (found bool, err error) {
	s.src.Lock.Lock()
	k := s.src.Detector.Known()
	s.src.Lock.Unlock()
	b, err := s.rdb.Get(ctx, s.knownKey(k.Size(), chunk)).Bytes()
	if err == redis.Nil {
		return false, nil
	} else if err != nil {
		return false, err
	}
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	if s.src.Detector.Known() == k { // of another seed there would be nobody in it
		k.Merge(chunk, b)
	}
	return true, nil
}
