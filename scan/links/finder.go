package links

import (
	"bytes"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

const (
	maxAsked = 20      // hosts of a message that are asked about by DNS
	maxKnown = 4 << 10 // hosts of a message that are told apart
)

// Finder finds the hosts that one message links to. It is for one goroutine.
type Finder struct {
	lists *Lists
	// seed is drawn for each message, so that nobody can foresee which hosts are
	// asked about, or learn it by trying.
	seed  maphash.Seed
	known map[uint64]bool
	asked []ranked // those of the lowest hashes
	names int      // hosts that are not addresses
	left  bool     // there were more hosts than are told apart

	listed []Listing // by files
}

type ranked struct {
	hash uint64
	host string
}

// Find returns a Finder for one message.
func (l *Lists) Find() *Finder {
	return &Finder{lists: l, seed: maphash.MakeSeed(), known: map[uint64]bool{}}
}

// Text takes the text of a part, decoded from its transfer encoding.
func (f *Finder) Text(isHTML bool, charset string, octets []byte) {
	octets = decoded(charset, octets)
	if isHTML {
		f.html(octets)
		return
	}
	f.plain(octets)
}

// decoded is text as UTF-8; as it is where its charset is not known.
func decoded(charset string, octets []byte) []byte {
	if charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii") {
		return octets
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return octets
	}
	out, _, err := transform.Bytes(e.NewDecoder(), octets)
	if err != nil {
		return octets
	}
	return out
}

// links are the attributes whose value is a reference, with or without a scheme.
var links = []string{"href", "src", "action", "formaction", "data", "background", "poster", "srcset", "ping", "xlink:href", "cite", "longdesc", "manifest"}

func (f *Finder) html(octets []byte) {
	z := html.NewTokenizer(bytes.NewReader(octets))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				f.plain(octets)
			}
			return
		case html.TextToken:
			f.plain(z.Text())
		case html.CommentToken: // some mail programs read what stands in conditional ones
			f.plain(z.Raw())
		case html.StartTagToken, html.SelfClosingTagToken:
			for _, more := z.TagName(); more; {
				var key, value []byte
				key, value, more = z.TagAttr()
				f.attribute(string(key), value)
			}
		}
	}
}

func (f *Finder) attribute(key string, value []byte) {
	if strings.HasPrefix(key, "xmlns") {
		return
	}
	if slices.Contains(links, key) {
		// Browsers drop these, and take any slashes behind the scheme for two.
		v := bytes.TrimLeft(dropControls(value), " ")
		_, rest, ok := bytes.Cut(v, []byte(":"))
		scheme := strings.ToLower(string(v[:max(0, len(v)-len(rest)-1)]))
		switch {
		case ok && (scheme == "http" || scheme == "https" || scheme == "ftp"):
			f.host(authority(bytes.TrimLeft(rest, `/\`)))
		case len(v) > 1 && (v[0] == '/' || v[0] == '\\') && (v[1] == '/' || v[1] == '\\'):
			f.host(authority(bytes.TrimLeft(v, `/\`)))
		}
		value = v
	}
	f.schemes(value)
}

func dropControls(v []byte) []byte {
	if !bytes.ContainsAny(v, "\t\r\n\x00") {
		return v
	}
	return bytes.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, v)
}

// schemes finds the hosts behind "://".
func (f *Finder) schemes(v []byte) {
	for {
		i := bytes.Index(v, []byte("://"))
		if i < 0 {
			return
		}
		v = v[i+3:]
		f.host(authority(v))
	}
}

// plain finds the hosts in text: behind a scheme, and words that are domain names.
func (f *Finder) plain(v []byte) {
	f.schemes(v)
	for len(v) > 0 {
		start := bytes.IndexFunc(v, isWord)
		if start < 0 {
			return
		}
		before := byte(' ')
		if start > 0 {
			before = v[start-1]
		}
		v = v[start:]
		end := bytes.IndexFunc(v, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(v)
		}
		word := v[:end]
		v = v[end:]
		switch {
		case bytes.HasPrefix(v, []byte("://")):
			v = v[urlEnd(v):] // what a path holds is not a host
		case before == '@' || len(v) > 0 && v[0] == '@': // an address of mail
		case len(word) <= maxHost && bytes.IndexAny(word, ".\u3002\uff0e\uff61") > 0:
			f.word(string(word))
			if len(v) > 0 && v[0] == '/' {
				v = v[urlEnd(v):]
			}
		}
	}
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' || r >= 0x80 && r != 0xa0 && (r < 0x2000 || r > 0x206f || r >= 0x200b && r <= 0x200f || r == 0x2060) && r != 0x3000
}

// urlEnd is where the rest of an address of a page ends.
func urlEnd(v []byte) int {
	if i := bytes.IndexAny(v, " \t\r\n<>\"'`"); i >= 0 {
		return i
	}
	return len(v)
}

func (f *Finder) word(w string) {
	if host := hostOf(w); host != "" && !isAddress(host) && isDomain(host) {
		f.take(host)
	}
}

func (f *Finder) host(v []byte) {
	if host := hostOf(string(v)); host != "" {
		f.take(host)
	}
}

// take takes a host that a message links to.
func (f *Finder) take(host string) {
	h := maphash.String(f.seed, host)
	if f.known[h] || within(host, f.lists.skip) {
		return
	}
	if len(f.known) >= maxKnown {
		f.left = true
		return
	}
	f.known[h] = true
	for _, file := range f.lists.files {
		if file.has(host) && len(f.listed) < maxListed {
			f.listed = append(f.listed, Listing{Host: host, List: file.name})
		}
	}
	if isAddress(host) {
		return
	}
	f.names++
	at, _ := slices.BinarySearchFunc(f.asked, h, func(r ranked, h uint64) int {
		switch {
		case r.hash < h:
			return -1
		case r.hash > h:
			return 1
		}
		return 0
	})
	if at < maxAsked {
		f.asked = slices.Insert(f.asked[:min(len(f.asked), maxAsked-1)], at, ranked{h, host})
	}
}
