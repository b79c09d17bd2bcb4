package links

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/text"
)

// maxFile is the size up to which a list is read.
const maxFile = 128 << 20

// hostFile is a list of hosts in a file.
type hostFile struct {
	name string // without its folder
	path string
	seed maphash.Seed
	seen fileState // for refresh alone
	set  atomic.Pointer[hostSet]
}

// fileState tells one version of a file from another.
type fileState struct {
	size int64
	time time.Time
}

// hostSet is what a file held when it was read last.
type hostSet struct {
	hashes []uint64 // sorted
	err    error    // of the last attempt; the hashes are then older
}

func newHostFile(path string) *hostFile {
	f := &hostFile{name: filepath.Base(path), path: path, seed: maphash.MakeSeed()}
	f.set.Store(&hostSet{err: errors.New("not read yet")})
	return f
}

// CheckFile says why a file cannot be used as a list.
func CheckFile(path string) error {
	_, err := newHostFile(path).read()
	return err
}

// has reports whether the file holds a host, or a domain above it with a dot in
// front.
func (f *hostFile) has(host string) bool {
	hashes := f.set.Load().hashes
	if len(hashes) == 0 {
		return false
	}
	holds := func(s string) bool {
		_, ok := slices.BinarySearch(hashes, maphash.String(f.seed, s))
		return ok
	}
	if holds(host) {
		return true
	}
	for rest := "." + host; rest != ""; {
		if holds(rest) {
			return true
		}
		i := strings.IndexByte(rest[1:], '.')
		if i < 0 {
			return false
		}
		rest = rest[1+i:]
	}
	return false
}

// err is what is wrong with the file; nil when what it holds is known.
func (f *hostFile) err() error { return f.set.Load().err }

// refresh reads the file again if it has changed, and reports whether it tried.
func (f *hostFile) refresh() bool {
	info, err := os.Stat(f.path)
	old := f.set.Load()
	if err == nil {
		now := fileState{info.Size(), info.ModTime()}
		if now == f.seen && old.err == nil {
			return false
		}
		f.seen = now
		var hashes []uint64
		if hashes, err = f.read(); err == nil {
			f.set.Store(&hostSet{hashes: hashes})
			return true
		}
	}
	f.set.Store(&hostSet{hashes: old.hashes, err: err})
	return true
}

func (f *hostFile) read() (hashes []uint64, err error) {
	in, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.path)
	}
	limited := &io.LimitedReader{R: in, N: maxFile + 1}
	lines := bufio.NewScanner(limited)
	unread := 0
	for lines.Scan() {
		entry, ok := entryOf(lines.Text())
		switch {
		case ok && entry != "":
			hashes = append(hashes, maphash.String(f.seed, entry))
		case !ok:
			unread++
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("read %s: %w", f.path, lines.Err())
	case limited.N == 0:
		return nil, fmt.Errorf("%s is larger than 128 MiB", f.path)
	case unread > len(hashes):
		return nil, fmt.Errorf("%s is not a list of hosts: %s cannot be read", f.path, text.Count(unread, "line", "lines"))
	}
	slices.Sort(hashes)
	return slices.Compact(hashes), nil
}

// entryOf reads a line of a list: a host, a domain with a dot in front, the address
// of a page, or an address and a host as in a hosts file. Empty lines and comments
// are "".
func entryOf(line string) (entry string, ok bool) {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	if i := strings.IndexAny(line, "#!"); i == 0 || i > 0 && line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
		line = strings.TrimSpace(line[:i])
	}
	if line == "" {
		return "", true
	}
	words := strings.Fields(line)
	if len(words) > 1 {
		if _, err := netip.ParseAddr(words[0]); err != nil {
			return "", false
		}
		if words[1] == "localhost" {
			return "", true
		}
		words = words[1:]
	}
	word := words[0]
	if _, rest, ok := strings.Cut(word, "://"); ok {
		word = rest
	}
	below := strings.HasPrefix(word, ".") || strings.HasPrefix(word, "*.")
	host := hostOf(string(authority([]byte(strings.TrimPrefix(word, "*")))))
	if host == "" {
		return "", false
	}
	if below {
		host = "." + host
	}
	return host, true
}
