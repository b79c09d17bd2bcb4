package relay

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

const (
	smallChunk = 8 << 10  // the first one of a body
	largeChunk = 64 << 10 // all others
)

// spooler hands out room for bodies: memory within two bounds, then unlinked
// temporary files. It is shared by all sessions.
type spooler struct {
	dir    string // for temporary files
	used   atomic.Int64
	heads  atomic.Int64 // octets of headers, which stay in memory
	small  sync.Pool
	large  sync.Pool
	create func(dir string) (*os.File, error)
}

func newSpooler(dir string) *spooler {
	return &spooler{dir: dir, create: unlinkedFile}
}

// unlinkedFile makes a file that has no name any more, so that no crash leaves
// mail behind.
func unlinkedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "body-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (p *spooler) chunk(first bool) []byte {
	pool, size := &p.large, largeChunk
	if first {
		pool, size = &p.small, smallChunk
	}
	p.used.Add(int64(size))
	switch b := pool.Get().(type) {
	case *[smallChunk]byte:
		return b[:0]
	case *[largeChunk]byte:
		return b[:0]
	}
	return make([]byte, 0, size)
}

// release takes a chunk back. The pools hold pointers to arrays, which need no
// room of their own.
func (p *spooler) release(b []byte) {
	p.used.Add(-int64(cap(b)))
	if cap(b) == smallChunk {
		p.small.Put((*[smallChunk]byte)(b[:smallChunk]))
	} else {
		p.large.Put((*[largeChunk]byte)(b[:largeChunk]))
	}
}

// spool holds one body while it is on its way: chunks of memory first, the rest
// in a file. The zero value with from set is empty; close gives everything back.
type spool struct {
	from        *spooler
	memory      int64 // octets that may stay in memory
	memoryTotal int64 // octets that all bodies may have there

	chunks   [][]byte
	inMemory int64
	file     *os.File
	fileSize int64
	err      error // the first fault; octets after it are dropped
}

func (s *spool) size() int64 { return s.inMemory + s.fileSize }

// write appends b. A fault (a full disk, say) is kept in err.
func (s *spool) write(b []byte) {
	for len(b) > 0 && s.err == nil {
		if s.file != nil {
			s.toFile(b)
			return
		}
		last := len(s.chunks) - 1
		if last < 0 || len(s.chunks[last]) == cap(s.chunks[last]) {
			if last >= 0 && s.full() {
				s.openFile()
				continue
			}
			s.chunks = append(s.chunks, s.from.chunk(last < 0))
			last++
		}
		c := s.chunks[last]
		n := min(len(b), cap(c)-len(c))
		s.chunks[last] = append(c, b[:n]...)
		s.inMemory += int64(n)
		b = b[n:]
	}
}

func (s *spool) full() bool {
	return s.inMemory+largeChunk > s.memory ||
		s.from.used.Load()+max(s.from.heads.Load(), headShare(s.memoryTotal))+largeChunk > s.memoryTotal
}

// headShare is what of memory_total bodies leave to headers.
func headShare(memoryTotal int64) int64 { return memoryTotal / 4 }

// ordinaryHead is the size up to which a header finds room whatever the others
// take: connections are bounded, and so that no sender of large headers is in
// the way of ordinary mail.
const ordinaryHead = 16 << 10

// head makes room for the header of a message, of which there are have octets of
// room, to hold size octets. It returns the room that there is then; false when
// the headers of all messages have no more.
func (s *spool) head(have, size int64) (room int64, ok bool) {
	if size <= have {
		return have, true
	}
	room = max(2*have, size)
	if all := s.from.heads.Add(room - have); room > ordinaryHead && all > max(headShare(s.memoryTotal), leastHeads) {
		s.from.heads.Add(have - room)
		return have, false
	}
	return room, true
}

// leastHeads is the room that headers have where memory_total is small.
const leastHeads = 4 << 20

func (s *spool) openFile() {
	if s.file, s.err = s.from.create(s.from.dir); s.err != nil {
		s.file = nil
		s.err = fmt.Errorf("make a temporary file for a body in %q: %w", s.from.dir, s.err)
	}
}

func (s *spool) toFile(b []byte) {
	n, err := s.file.Write(b)
	s.fileSize += int64(n)
	if err != nil {
		s.err = fmt.Errorf("write a body to its temporary file: %w", err)
	}
}

// drop gives the octets back but keeps the fault and takes more.
func (s *spool) drop() {
	for _, c := range s.chunks {
		s.from.release(c)
	}
	s.chunks, s.inMemory = nil, 0
	if s.file != nil {
		s.file.Close()
		s.file, s.fileSize = nil, 0
	}
}
