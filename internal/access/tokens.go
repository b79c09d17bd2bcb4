package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/secret"
	"postern/internal/statefile"
)

// Token is one line of tokens_file, a JSON object. The token itself stands nowhere.
type Token struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Client  string    `json:"client,omitempty"` // of role owner
	SHA256  string    `json:"sha256"`           // of the token, in hex
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by,omitempty"` // who made it
}

const (
	prefix     = "pst_"
	tokenBytes = 32
	// maxTokens bounds a file; MaxLife how long a token may hold.
	maxTokens = 200
	// MaxLife is the longest that a token may hold.
	MaxLife = 10 * 366 * 24 * time.Hour
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// errToken is the error of identity for a token that does not hold.
var errToken = errors.New("the token is unknown, expired or revoked")

// parseTokens reads a file of tokens. Any line that is wrong spoils the whole of it: who
// could read half a file would not see what is missing.
func parseTokens(text []byte) (list []Token, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		t, err := parseToken(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(list) == maxTokens {
			return nil, fmt.Errorf("line %d: more than %d tokens", n, maxTokens)
		}
		if slices.ContainsFunc(list, func(o Token) bool { return o.Name == t.Name || o.SHA256 == t.SHA256 }) {
			return nil, fmt.Errorf("line %d: the name %q or its token stands there twice", n, t.Name)
		}
		list = append(list, t)
	}
	return list, nil
}

func parseToken(line []byte) (t Token, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, errors.New("is not a token as relay token new writes it") // the error could quote a secret that stands there by mistake
	}
	if d.More() {
		return t, errors.New("has something behind the token")
	}
	return t, t.check()
}

func (t *Token) check() error {
	sum, err := hex.DecodeString(t.SHA256)
	switch {
	case !validName.MatchString(t.Name):
		return errors.New("name: has 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first")
	case t.Role == "":
		return errors.New("role: is missing")
	case (t.Role == Owner) != (t.Client != ""):
		return errors.New("client: is needed for role owner, and for no other")
	case err != nil || len(sum) != sha256.Size:
		return errors.New("sha256: is not 64 hexadecimal digits")
	case t.Expires.IsZero():
		return errors.New("expires: is missing")
	}
	return nil
}

// id tells a token from others; it is a part of a hash of 256 random bits, and so no
// help to a guesser.
func (t *Token) id() string { return strings.ToLower(t.SHA256[:16]) }

// Tokens are those of one file, which is read again whenever it has changed. A file
// that cannot be read, or that others can read, holds none.
type Tokens struct {
	now    func() time.Time
	file   func() string
	report func(error) // is told how reading went, each time it was tried

	mu    sync.Mutex
	stamp string
	list  []Token
	err   error
}

// NewTokens reads the file that file names at each call; "" is none. report may be nil.
func NewTokens(file func() string, now func() time.Time, report func(error)) *Tokens {
	if report == nil {
		report = func(error) {}
	}
	return &Tokens{now: now, file: file, report: report}
}

// caller is whom a token stands for, without its door and remote address; errToken
// for a token that does not hold. It takes the same time whichever token of the file it is.
func (ts *Tokens) caller(token string) (Caller, error) {
	sum := sha256.Sum256([]byte(token))
	text := []byte(hex.EncodeToString(sum[:]))
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	var found *Token
	for i := range ts.list {
		if subtle.ConstantTimeCompare(text, []byte(strings.ToLower(ts.list[i].SHA256))) == 1 {
			found = &ts.list[i]
		}
	}
	if found == nil || !ts.now().Before(found.Expires) {
		return Caller{}, errToken
	}
	return found.identity(), nil
}

func (t *Token) identity() Caller {
	return Caller{Name: t.Name, Role: t.Role, Client: t.Client, Token: t.id()}
}

// Still is the identity that the token of id gives now, which may have changed; ok is
// false when it was revoked or has expired. Sessions that live longer than a request ask.
func (ts *Tokens) Still(id Caller) (now Caller, ok bool) {
	if id.Token == "" {
		return id, false
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	for i := range ts.list {
		if t := &ts.list[i]; t.id() == id.Token && t.Name == id.Name {
			now = t.identity()
			now.Door, now.Remote = id.Door, id.Remote
			return now, ts.now().Before(t.Expires)
		}
	}
	return id, false
}

// List is all tokens, also those that have expired, by name. The error says why the
// file cannot be used.
func (ts *Tokens) List() ([]Token, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	return slices.SortedFunc(slices.Values(ts.list), func(a, b Token) int { return strings.Compare(a.Name, b.Name) }), ts.err
}

// Errors of New and Revoke that who asked can mend.
var (
	ErrExists  = errors.New("there is a token of that name; revoke it, or choose another name")
	ErrMissing = errors.New("there is no token of that name")
	ErrFull    = fmt.Errorf("there are %d tokens already; revoke those that nobody uses", maxTokens)
)

// Plan says what is wrong with a new token; nil: New can make it.
func (ts *Tokens) Plan(t Token) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	t.SHA256 = strings.Repeat("0", 2*sha256.Size)
	return ts.planLocked(&t)
}

func (ts *Tokens) planLocked(t *Token) error {
	switch now := ts.now(); {
	case ts.err != nil:
		return ts.err
	case slices.ContainsFunc(ts.list, func(o Token) bool { return o.Name == t.Name }):
		return ErrExists
	case len(ts.list) >= maxTokens:
		return ErrFull
	case !t.Expires.After(now) || t.Expires.After(now.Add(MaxLife)):
		return errors.New("expires: is not within ten years from now")
	}
	return t.check()
}

// New makes a token and writes it into the file; text is what its owner sends, and is
// kept nowhere.
func (ts *Tokens) New(t Token) (text string, made Token, err error) {
	var random [tokenBytes]byte
	rand.Read(random[:]) // never fails since Go 1.24
	text = prefix + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(text))
	t.SHA256, t.Created = hex.EncodeToString(sum[:]), ts.now().UTC().Truncate(time.Second)
	t.Expires = t.Expires.UTC().Truncate(time.Second)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	if err := ts.planLocked(&t); err != nil {
		return "", t, err
	}
	return text, t, ts.writeLocked(append(slices.Clone(ts.list), t))
}

// Revoke takes a token out of the file.
func (ts *Tokens) Revoke(name string) (Token, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refreshLocked()
	if ts.err != nil {
		return Token{}, ts.err
	}
	i := slices.IndexFunc(ts.list, func(t Token) bool { return t.Name == name })
	if i < 0 {
		return Token{}, ErrMissing
	}
	gone := ts.list[i]
	return gone, ts.writeLocked(slices.Delete(slices.Clone(ts.list), i, i+1))
}

func (ts *Tokens) writeLocked(list []Token) error {
	name := ts.file()
	if name == "" {
		return errors.New("there is no tokens_file")
	}
	var text bytes.Buffer
	for i := range list {
		line, err := json.Marshal(list[i])
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	if text.Len() > secret.Max {
		return ErrFull
	}
	if err := statefile.New(name, secret.Max).Write(text.Bytes()); err != nil {
		return fmt.Errorf("write tokens_file: %w", err)
	}
	ts.stamp = "" // read what was written
	ts.refreshLocked()
	return ts.err
}

// refreshLocked reads the file again where it has changed.
func (ts *Tokens) refreshLocked() {
	name := ts.file()
	stamp := stampOf(name)
	if stamp == ts.stamp {
		return
	}
	ts.stamp = stamp
	ts.list, ts.err = readTokens(name)
	ts.report(ts.err)
}

// readTokens reads a file of tokens; one that is missing holds none.
func readTokens(name string) ([]Token, error) {
	if name == "" {
		return nil, nil
	}
	text, err := secret.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tokens_file: %w", err)
	}
	list, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("tokens_file %s: %w", name, err)
	}
	return list, nil
}

func stampOf(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return name + " " + err.Error()
	}
	return fmt.Sprintf("%s %d %d %v %v", name, info.ModTime().UnixNano(), info.Size(), info.Mode(), inodeOf(info))
}
