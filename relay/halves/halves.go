package halves

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds.
const (
	// keepFor is how long a client may take to come again; settledFor how long what
	// has been told as taken is still known, should that reply have been lost.
	keepFor    = 5 * 24 * time.Hour
	refusedFor = 6 * time.Hour // a refusal that was not told: the next try finds it out anew
	settledFor = time.Hour
	// maxTotal is of recipients that are remembered in this process, maxClient of one
	// client. Where the first is reached, the client that has the most gives way.
	maxTotal  = 100_000
	maxClient = 20_000
	sweepEach = time.Minute
)

// Errors of Begin and Keep.
var (
	// ErrFull is returned by Begin where there is no room for more of this client.
	ErrFull = errors.New("memory of halves is full for this client")
	// ErrUnwritten is returned by Keep where neither the file nor Redis could be written:
	// only this process knows what was to be kept.
	ErrUnwritten = errors.New("who has the message is written nowhere")
	errDisk      = errors.New("file of halves cannot be written")
	errSlow      = errors.New("the disk does not answer")
)

// hash tells recipients, clients and contents apart, without naming them.
type hash = [16]byte

// Known is what is known of one recipient and one content.
type Known struct {
	sum hash
	// Taken: the recipient has the message. Else his was refused for good, while others
	// took theirs.
	Taken bool
	ID    string // of the transaction in which that was said
}

// Part is one recipient of a message, with what became of it for him.
type Part struct {
	To    string // mail.RecipientID of its address
	Taken bool   // false: refused for good
}

// Options are what a Memory is made of.
type Options struct {
	// File is in the state folder. Blank: nothing is kept on disk, and without Redis the
	// memory is never ready.
	File string
	// Redis shares the memory with other nodes; nil: it is this node's alone. Prefix begins
	// the name of every key, and Timeout bounds each call.
	Redis   redis.UniversalClient
	Prefix  string
	Timeout time.Duration
	Now     func() time.Time // nil: time.Now
	// Open opens File for writing; nil: as state files are opened. Tests pass one that fails.
	Open func(name string) (File, error)
	Log  *slog.Logger // nil: nothing is logged
	// Changed is called with the error of the last attempt to write the file, nil for none,
	// after every Check; nil: nobody is told.
	Changed func(error)

	perClient, total int // 0: maxClient, maxTotal
}

// Counts are of recipients since the start.
type Counts struct {
	Kept    int64 // remembered, since others did not have the message
	LeftOut int64 // not sent to again when the message came again
	// The windows in which a recipient may get a second copy.
	Crashed   int64 // the relay ended while the message was with several domains
	Unwritten int64 // what had to be remembered could not be written after all
	Unshared  int64 // likewise in Redis, so that other nodes do not know
	Unasked   int64 // a message was taken while Redis, which may have known of it, was away
	Evicted   int64 // forgotten for want of room
	Lost      int64 // the connection with the receiver was lost behind the message
}

// Memory remembers which recipients have which messages. It is safe for concurrent use. A
// nil Memory is never Ready.
type Memory struct {
	opt    Options
	shared *shared // nil: of one node

	writing, syncing, mending lane // on the disk

	mu      sync.Mutex
	wanted  bool
	keys    [][32]byte // the one in force first, then the one before
	disk    *disk      // nil: there is none
	index   map[hash][]*entry
	clients map[hash]*owner
	total   int // remembered, and what has been made room for
	swept   time.Time
	counts  Counts
}

// owner is a client with what is remembered of its mail.
type owner struct {
	entries  map[*entry]struct{}
	reserved int
}

func (o *owner) size() int { return len(o.entries) + o.reserved }

// Open makes a memory, which touches neither file nor Redis before Want.
func Open(o Options) *Memory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(error) {}
	}
	if o.perClient == 0 {
		o.perClient, o.total = maxClient, maxTotal
	}
	m := &Memory{opt: o, index: map[hash][]*entry{}, clients: map[hash]*owner{}}
	var key [32]byte
	rand.Read(key[:]) // never fails since Go 1.24
	m.keys = [][32]byte{key}
	if o.Open == nil {
		o.Open = openFile
	}
	if o.File != "" {
		m.disk = &disk{name: o.File, open: o.Open, err: errDisk, dirty: map[int]struct{}{}}
		m.writing.do, m.syncing.do, m.mending.do = m.write, m.sync, m.mend
	}
	if o.Redis != nil {
		m.shared = &shared{client: o.Redis, prefix: o.Prefix + ":halves:", timeout: o.Timeout, most: o.perClient}
	}
	return m
}

// Want reads what was remembered and asks Redis, once. What is damaged is set aside,
// and what cannot be reached is tried again by Run; both are told in the log.
func (m *Memory) Want(ctx context.Context) {
	m.mu.Lock()
	was := m.wanted
	m.wanted = true
	m.mu.Unlock()
	if !was {
		m.Check(ctx)
	}
}

// Run calls Check every two seconds until ctx ends, and then closes the file.
func (m *Memory) Run(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		m.Check(ctx)
		select {
		case <-ctx.Done():
			m.close()
			return
		case <-tick.C:
		}
	}
}

// Check tries file and Redis again where they could not be written. Before Want it does
// nothing.
func (m *Memory) Check(ctx context.Context) {
	m.mu.Lock()
	wanted := m.wanted
	own := m.keys[0]
	m.mu.Unlock()
	if !wanted {
		return
	}
	if m.disk != nil {
		m.mending.ask(mendTime)
		m.writing.ask(diskTime)
		m.mu.Lock()
		err := m.disk.err
		m.mu.Unlock()
		m.opt.Changed(err)
	}
	if m.shared == nil {
		return
	}
	if key, err := m.shared.probe(ctx, own); err == nil && key != own {
		m.adopt(key)
	}
}

// adopt takes the key that other nodes use.
func (m *Memory) adopt(key [32]byte) {
	m.mu.Lock()
	m.keys = [][32]byte{key, m.keys[0]}
	faults := 0
	if m.disk != nil {
		m.disk.head, faults = true, m.disk.faults
	}
	m.mu.Unlock()
	m.commit(faults) // its error is in m.disk
}

// Counts returns the counts since the start.
func (m *Memory) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Unasked notes that recipients have taken a message while Lookup was not sure.
func (m *Memory) Unasked(recipients int) { m.count(&m.counts.Unasked, recipients) }

// Unwritten notes recipients who have a message while there was no room to remember them.
func (m *Memory) Unwritten(recipients int) { m.count(&m.counts.Unwritten, recipients) }

// Lost notes that nobody knows whether recipients have a message.
func (m *Memory) Lost(recipients int) { m.count(&m.counts.Lost, recipients) }

// LeftOut notes that recipients were not sent to again.
func (m *Memory) LeftOut(recipients int) { m.count(&m.counts.LeftOut, recipients) }

func (m *Memory) count(what *int64, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*what += int64(n)
}

// keyed hashes words, which may hold anything, under a key.
func keyed(key [32]byte, words ...string) (h hash) {
	mac := hmac.New(sha256.New, key[:])
	for _, w := range words {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(w)))
		mac.Write(size[:])
		mac.Write([]byte(w))
	}
	copy(h[:], mac.Sum(nil))
	return h
}

func recipientHash(key [32]byte, client, from, to string) hash {
	return keyed(key, "recipient", client, from, to)
}

func contentHash(key [32]byte, content [32]byte) hash {
	return keyed(key, "content", string(content[:]))
}

// Same reports whether k is about the content that has this SHA-256.
func (m *Memory) Same(k Known, content [32]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range m.keys {
		if contentHash(key, content) == k.sum {
			return true
		}
	}
	return false
}

// Ready reports whether the memory has room for a client and can be written now, so that a
// message to several domains can be sent.
func (m *Memory) Ready(client string) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep()
	return m.room(keyed(m.keys[0], "client", client), 1) == nil && m.writable()
}

// writable reports whether the place that counts can be written; m.mu is held.
func (m *Memory) writable() bool {
	if m.shared != nil {
		return m.shared.up.Load()
	}
	return m.disk.ready()
}

// room says whether n more fit for a client; m.mu is held.
func (m *Memory) room(client hash, n int) error {
	o := m.clients[client]
	have := 0
	if o != nil {
		have = o.size()
	}
	if have+n > m.opt.perClient {
		return ErrFull
	}
	if m.total+n <= m.opt.total {
		return nil
	}
	// Who has the most gives way, never who has little for one who has much.
	if most := m.largest(); most == nil || most == o || most.size() <= have+n {
		return ErrFull
	}
	return nil
}

func (m *Memory) largest() (most *owner) {
	for _, o := range m.clients {
		if most == nil || len(o.entries) > len(most.entries) {
			most = o
		}
	}
	return most
}

// Lookup says what is known of recipients of a client's sender. sure is false where Redis,
// which may know more, could not be asked.
func (m *Memory) Lookup(ctx context.Context, client, from string, to []string) (known [][]Known, sure bool) {
	known = make([][]Known, len(to))
	current := make([]hash, len(to))
	m.mu.Lock()
	keys := m.keys
	now := m.opt.Now()
	for i := range to {
		for k, key := range keys {
			h := recipientHash(key, client, from, to[i])
			if k == 0 {
				current[i] = h
			}
			for _, e := range m.index[h] {
				if now.Before(e.until) {
					known[i] = add(known[i], e.known())
				}
			}
		}
	}
	m.mu.Unlock()
	if m.shared == nil {
		return known, true
	}
	theirs, err := m.shared.look(ctx, keyed(keys[0], "client", client), current, now)
	for i := range theirs {
		for _, k := range theirs[i] {
			known[i] = add(known[i], k)
		}
	}
	return known, err == nil
}

// add appends k unless that content is known already.
func add(all []Known, k Known) []Known {
	for _, have := range all {
		if have.sum == k.sum {
			return all
		}
	}
	return append(all, k)
}

// Settle shortens what is known of recipients who have a message: its client has
// been told so. forget: it is forgotten at once, since another message may be the
// same octet for octet.
func (m *Memory) Settle(ctx context.Context, client, from string, content [32]byte, to []string, forget bool) {
	m.mu.Lock()
	until := m.opt.Now().Add(settledFor)
	if forget {
		until = time.Time{}
	}
	hashes := make([]hash, len(to))
	for i := range to {
		for k, key := range m.keys {
			h := recipientHash(key, client, from, to[i])
			if k == 0 {
				hashes[i] = h
			}
			m.settle(h, contentHash(key, content), until)
		}
	}
	owner, sum := keyed(m.keys[0], "client", client), contentHash(m.keys[0], content)
	m.mu.Unlock()
	m.writing.begin() // it need not be synced
	if m.shared != nil {
		m.shared.settle(ctx, owner, hashes, sum, until) // else it stays as long as it would have
	}
}

// settle is Settle for one entry; m.mu is held.
func (m *Memory) settle(h, sum hash, until time.Time) {
	for _, e := range m.index[h] {
		if e.sum != sum {
			continue
		}
		if until.IsZero() {
			m.remove(e)
			return
		}
		if until.Before(e.until) {
			e.until = until
			m.disk.put(&e.record)
		}
		return
	}
}
