package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/outlier/detector"
)

// Shared is the Redis through which nodes are one.
//
// Every transaction is a note in a stream, which all nodes read: so each of them
// has all counts in memory and judges by itself. Notes that go out at the same
// time share an entry, and are numbered: one whose entry is written again, since Redis
// has written it and the answer got lost, counts once. States travel on the same
// stream and stand in a hash besides. What each node has counted is written
// under a key for each sender, the sketch of known recipients under some keys, and where
// each user is under another one, for nodes that join.
type Shared struct {
	Client redis.UniversalClient
	// Prefix begins the name of every key.
	Prefix string
}

const (
	// streamLength is about how many entries the stream keeps: what a node may
	// miss without having to read all counts anew.
	streamLength = 10_000
	maxEntry     = 4 << 10 // octets of notes in one entry, unless it is one note
	maxQueued    = 20_000  // transactions that wait for a Redis that is away
	maxPipelined = 200
	idleExpiry   = 90 * 24 * time.Hour
	storeEvery   = 10 * time.Second
	knownEvery   = time.Minute
	maxAhead     = 60 // seconds by which another node's clock is followed
	retryAfter   = 250 * time.Millisecond
	redisTimeout = 2 * time.Second // off the reply path

	// gatherFor is how long a note waits for others after one has been sent: a
	// round trip for each would cost a busy node more than all else that it does
	// for a transaction. Those with urgentScore do not wait, nor does a reader
	// that hears of other nodes.
	gatherFor   = 10 * time.Millisecond
	urgentScore = 0.3
)

// Link is one node's part in a state that several share. It is safe for concurrent
// use.
type Link struct {
	src    *Source
	rdb    redis.UniversalClient
	prefix string // of what stands together: stream, states, seed
	loose  string // of what spreads over a Cluster: meters, known recipients
	node   string
	gather time.Duration // gatherFor, in tests another

	mu     sync.Mutex
	queue  [][]byte // notes in order
	lost   int      // notes that found no room in the queue
	out    uint64   // notes that have left it, sent or pushed out: the first that waits is number out+1
	states map[detector.Who]*State
	gone   []detector.Who
	wake   chan struct{}
	urgent chan struct{}
	last   string // id of the last entry of the stream that was read
	heard  heard  // only read has it
	away   bool
	joined bool // once at least
	// learned: more is known than was told; learnedSeen is what Redis said of that last,
	// and only write has it.
	learned     bool
	learnedSeen string
}

// NewLink makes the part of the node with that source. Run must be called for anything
// to be shared.
func NewLink(src *Source, s *Shared) *Link {
	var id [8]byte
	rand.Read(id[:]) // never fails since Go 1.24
	return &Link{
		src: src, rdb: s.Client, prefix: s.Prefix + ":{outlier}:", loose: s.Prefix + ":outlier:", node: hex.EncodeToString(id[:]), gather: gatherFor,
		states: map[detector.Who]*State{}, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
	}
}

// Note tells the other nodes of an event that has led to that score.
func (s *Link) Note(ev *detector.Event, score float32) {
	b := ev.Append(make([]byte, 0, ev.Size()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxQueued {
		s.queue = s.queue[1:]
		s.lost++
		s.out++
	}
	s.queue = append(s.queue, b)
	nudge(s.wake)
	if score >= urgentScore || len(s.queue) >= maxPipelined {
		nudge(s.urgent)
	}
}

// State tells the other nodes of a state, of which only the latest counts.
func (s *Link) State(st *State) {
	c := *st
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[c.Who()] = &c
	nudge(s.wake)
	nudge(s.urgent)
}

// Forget has a state removed that is of no more use.
func (s *Link) Forget(k detector.Who) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, k)
	nudge(s.wake)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run joins the other nodes and keeps up with them until ctx ends; then it sends what
// is left.
func (s *Link) Run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { s.write(ctx) })
	for ctx.Err() == nil {
		err := s.join(ctx)
		if err == nil {
			s.mu.Lock()
			s.joined = true
			s.mu.Unlock()
		}
		for err == nil && ctx.Err() == nil {
			var others bool
			if others, err = s.read(ctx); err == nil && !others {
				pause(ctx, s.gather, nil)
			}
		}
		s.trouble(ctx, err)
		pause(ctx, retryAfter, nil)
	}
}

// pause waits for d, or until ctx or until ends it.
func pause(ctx context.Context, d time.Duration, until <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-until:
	case <-ctx.Done():
	}
}

// trouble logs the first of a row of faults, and their end.
func (s *Link) trouble(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && !s.away:
		s.src.Log.Error("outlier state is not shared, each node watches by itself", "err", err)
	case err == nil && s.away:
		s.src.Log.Info("outlier state is shared again", "transactions_lost", s.lost)
		s.lost = 0
	}
	s.away = err != nil
}

// write sends what is queued, all that has come meanwhile in one round trip.
func (s *Link) write(ctx context.Context) {
	store, known := time.Now(), time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
			for s.send(last) == nil && s.Waiting() {
			}
			_ = s.sendPlaces(last) // the next start tells it
			s.store(last)
			s.shareLearned(last, s.storeKnown(last))
			cancel()
			return
		}
		if err := s.sendAll(ctx); err != nil {
			pause(ctx, retryAfter, nil)
		}
		if time.Since(store) >= storeEvery {
			s.store(ctx)
			store = time.Now()
		}
		if time.Since(known) >= knownEvery {
			s.shareLearned(ctx, s.storeKnown(ctx))
			known = time.Now()
		}
	}
}

// sendAll sends until nothing waits.
func (s *Link) sendAll(ctx context.Context) error {
	for {
		waiting := s.Waiting()
		if waiting {
			if err := s.send(ctx); err != nil {
				return err
			}
		}
		if err := s.sendPlaces(ctx); err != nil || !waiting {
			return err
		}
		pause(ctx, s.gather, s.urgent)
	}
}

// Joined reports whether the node has come to where the others are, once at least.
func (s *Link) Joined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joined
}

// Waiting reports whether something is still to be sent.
func (s *Link) Waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 || len(s.states) > 0 || len(s.gone) > 0
}

// send writes states first, then some of the notes. What fails stays queued.
func (s *Link) send(ctx context.Context) error {
	s.mu.Lock()
	notes := s.queue[:min(len(s.queue), maxPipelined)]
	states := make([]*State, 0, len(s.states))
	for _, st := range s.states {
		states = append(states, st)
	}
	gone, out := s.gone, s.out
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	p := s.rdb.Pipeline()
	for _, st := range states {
		line, err := json.Marshal(st)
		if err != nil {
			return err
		}
		p.HSet(ctx, s.prefix+"states", st.Scope+" "+st.Name, line)
		s.append(ctx, p, "s", line)
	}
	for i, entry := range joined(notes) {
		s.append(ctx, p, "n", entry, "first", out+uint64(i)+1)
	}
	for _, k := range gone {
		p.HDel(ctx, s.prefix+"states", k.Scope+" "+k.Name)
	}
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent(len(notes), int(s.out-out))
	s.gone = s.gone[len(gone):]
	for _, st := range states {
		k := st.Who()
		if s.states[k] == st {
			delete(s.states, k)
		}
	}
	return nil
}

// sent takes the first n notes out of the queue, of which some have been pushed
// out meanwhile: those are not lost. s.mu is held.
func (s *Link) sent(n, pushed int) {
	pushed = min(pushed, n)
	s.lost = max(0, s.lost-pushed)
	s.queue = s.queue[n-pushed:]
	s.out += uint64(n - pushed)
	if len(s.queue) == 0 {
		s.queue = nil
	}
}

// joined yields notes one behind another, in entries of at most maxEntry octets, each with
// the index of its first note.
func joined(notes [][]byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		var entry []byte
		first := 0
		for i, n := range notes {
			if len(entry) > 0 && len(entry)+len(n) > maxEntry {
				if !yield(first, entry) {
					return
				}
				entry, first = nil, i
			}
			entry = append(entry, n...)
		}
		if len(entry) > 0 {
			yield(first, entry)
		}
	}
}

func (s *Link) append(ctx context.Context, p redis.Pipeliner, kind string, value []byte, more ...any) {
	p.XAdd(ctx, &redis.XAddArgs{Stream: s.prefix + "stream", MaxLen: streamLength, Approx: true,
		Values: append([]any{"node", s.node, kind, value}, more...)})
}

// read takes what other nodes have written, waiting for it up to a second, and
// reports whether there was any.
func (s *Link) read(ctx context.Context) (others bool, err error) {
	streams, err := s.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{s.prefix + "stream", s.last}, Count: 1000, Block: time.Second,
	}).Result()
	if err == redis.Nil {
		s.trouble(ctx, nil)
		return true, nil // no need to wait after a second without anything
	} else if err != nil {
		return false, err
	}
	s.trouble(ctx, nil)
	for _, m := range streams[0].Messages {
		s.last = m.ID
		if m.Values["node"] != s.node {
			s.take(m.Values)
			others = true
		}
	}
	s.src.Tell()
	return others, nil
}

// take applies what another node has counted or decided.
func (s *Link) take(values map[string]any) {
	if text, ok := values["n"].(string); ok {
		node, _ := values["node"].(string)
		number, _ := values["first"].(string)
		first, _ := strconv.ParseUint(number, 10, 64) // 0: of an earlier release
		s.takeNotes([]byte(text), node, first)
	}
	if text, ok := values["w"].(string); ok {
		s.takePlaces([]byte(text))
	}
	if text, ok := values["s"].(string); ok {
		var st State
		if json.Unmarshal([]byte(text), &st) == nil {
			s.src.Lock.Lock()
			defer s.src.Lock.Unlock()
			s.src.Merge(&st)
		}
	}
}
