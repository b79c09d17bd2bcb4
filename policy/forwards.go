package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"postern/mail"
)

// Mail that is forwarded keeps its author, who is somebody else. Two kinds can be
// told by what our own server put on them. A forwarder rewrites the reverse-path
// into its own domain by the sender rewriting scheme (SRS), so that SPF holds:
// SRS0=HASH=TIME=DOMAIN=LOCAL@ours, or for the second hop
// SRS1=HASH=HOP==HASH=TIME=DOMAIN=LOCAL@ours. A mailing list names itself in List-Id
// (RFC 2919). In both cases the reverse-path is owned: MAIL has asked for that.

const (
	forwardSRS  = "srs"
	forwardList = "list:"
)

// forwards checks the entries of the key.
func (b *builder) forwards(path string, entries []string) {
	for i, entry := range entries {
		id, isList := strings.CutPrefix(entry, forwardList)
		if entry != forwardSRS && (!isList || !isListID(id)) {
			b.problem(at(path, i), fmt.Sprintf(`%q is neither "srs" nor "list:LIST-ID"; write "srs" or "list:announce.example.org"`, entry))
		}
	}
}

// Forwarded says by which entry of forwards a message with these facts may pass
// with an author whom the client does not own; "" when by none, and where all are
// its own.
func (c *Client) Forwarded(h *HeaderFacts) string {
	if len(c.cfg.Forwards) == 0 || h.ReversePath.IsNull() || c.foreign("From", h.Authors) == nil {
		return ""
	}
	for _, entry := range c.cfg.Forwards {
		id, isList := strings.CutPrefix(entry, forwardList)
		switch {
		case isList && h.lists == 1 && strings.EqualFold(listID(h.list), id),
			entry == forwardSRS && isSRS(h.ReversePath):
			return entry
		}
	}
	return ""
}

func (h *HeaderFacts) listField(body []byte) { h.lists, h.list = h.lists+1, body }

// listID is what stands between the angle brackets at the end of List-Id; "" where
// that is not one identifier.
func listID(body []byte) string {
	body = bytes.Trim(body, " \t\r\n")
	open := bytes.LastIndexByte(body, '<')
	if open < 0 || body[len(body)-1] != '>' {
		return ""
	}
	if id := string(body[open+1 : len(body)-1]); isListID(id) && bytes.Count(body, []byte{'<'}) == 1 {
		return id
	}
	return ""
}

// isListID reports whether s is a dot-atom of at most 255 octets with a dot (RFC
// 2919 s. 2).
func isListID(s string) bool {
	labels := strings.Split(s, ".")
	return len(s) <= 255 && len(labels) > 1 && !slices.ContainsFunc(labels, func(l string) bool {
		return l == "" || strings.ContainsFunc(l, func(r rune) bool { return r >= 0x80 || !mail.IsAtext(byte(r)) })
	})
}

// isSRS reports whether a has the form of an SRS address of either kind. Its hash
// is that of the forwarder, who alone can verify it.
func isSRS(a mail.Address) bool {
	if len(a.Local) < len("SRS0=") {
		return false
	}
	tag, sep, rest := strings.ToUpper(a.Local[:4]), a.Local[4], a.Local[5:]
	if !strings.ContainsRune("=+-", rune(sep)) {
		return false
	}
	switch tag {
	case "SRS0":
		return isSRS0(rest)
	case "SRS1": // HASH=HOP=, then what stood behind the SRS0 of that hop with its own separator
		hash, rest, _ := strings.Cut(rest, "=")
		hop, rest, ok := strings.Cut(rest, "=")
		return ok && isHash(hash) && isHost(hop) && rest != "" && strings.ContainsRune("=+-", rune(rest[0])) && isSRS0(rest[1:])
	}
	return false
}

// isSRS0 reports whether s is HASH=TIME=DOMAIN=LOCAL.
func isSRS0(s string) bool {
	p := strings.SplitN(s, "=", 4)
	return len(p) == 4 && isHash(p[0]) && isTime(p[1]) && isHost(p[2]) && p[3] != ""
}

func isHash(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlnum(r) && !strings.ContainsRune("+/.-_", r)
	})
}

// isTime reports whether s is days modulo 1024 in two digits of base 32.
func isTime(s string) bool {
	return len(s) == 2 && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlnum(r) || strings.ContainsRune("0189", r)
	})
}

func isHost(s string) bool {
	labels := strings.Split(s, ".")
	return len(labels) > 1 && !slices.ContainsFunc(labels, func(l string) bool {
		return l == "" || strings.ContainsFunc(l, func(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' })
	})
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
