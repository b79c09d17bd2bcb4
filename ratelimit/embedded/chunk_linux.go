package embedded

import (
	"runtime"
	"sync"
	"syscall"
)

// chunkMemory owns the memory of records. It lies outside the heap: a million
// records cost the collector nothing, neither time nor room for garbage.
type chunkMemory struct {
	mu  sync.Mutex // the shards share it
	all [][]byte
}

// freeWith gives all chunks back once owner is gone.
func (c *chunkMemory) freeWith(owner *Store) { runtime.AddCleanup(owner, (*chunkMemory).free, c) }

func (c *chunkMemory) free() {
	for _, m := range c.all {
		_ = syscall.Munmap(m) // it was mapped here
	}
}

// newChunk returns n zero bytes.
func (c *chunkMemory) newChunk(n int) ([]byte, error) {
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, m)
	return m, nil
}
