package ratelimit

import (
	"runtime"
	"syscall"
)

// chunks owns the memory of records. It lies outside the heap: a million
// records cost the collector nothing, neither time nor room for garbage.
type chunks struct{ all [][]byte }

// freeWith gives all chunks back once owner is gone.
func (c *chunks) freeWith(owner *Embedded) { runtime.AddCleanup(owner, (*chunks).free, c) }

func (c *chunks) free() {
	for _, m := range c.all {
		_ = syscall.Munmap(m) // it was mapped here
	}
}

// newChunk returns n zero bytes.
func (c *chunks) newChunk(n int) ([]byte, error) {
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	c.all = append(c.all, m)
	return m, nil
}
