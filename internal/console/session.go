package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"postern/internal/access"
	"postern/internal/statefile"
)

const (
	sessionFor = 12 * time.Hour
	linkFor    = time.Minute
	// endedFor is how long behind its end a session that was logged out is remembered.
	endedFor = 7 * 24 * time.Hour
	maxLinks = 100  // that wait to be used
	maxEnded = 1000 // sessions that were logged out
	maxSaid  = 1000
	keySize  = 32
)

// session is what the cookie of a browser says; it is signed, and nothing of it is kept
// here.
type session struct {
	access.Caller
	Token   string    `json:"token,omitempty"` // of Caller
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// sessions signs cookies and knows which were logged out. It is safe for concurrent use.
type sessions struct {
	now  func() time.Time
	file *statefile.File

	mu    sync.Mutex
	state sessionState
	links map[[sha256.Size]byte]link
	said  map[string]string // to tell on the next page, by session
}

// sessionState is what outlasts a restart.
type sessionState struct {
	Key   []byte               `json:"key"`
	Ended map[string]time.Time `json:"ended"` // by id, with the time when they would have ended
}

// link is a login that waits for its one use.
type link struct {
	access.Caller
	expires time.Time
}

// openSessions reads the key from a file, or draws one. A file that is damaged is told to
// log and set aside. The error says that the key cannot be kept: it holds until the next
// start.
func openSessions(file *statefile.File, now func() time.Time, log *slog.Logger) (*sessions, error) {
	s := &sessions{now: now, file: file, links: map[[sha256.Size]byte]link{}, said: map[string]string{}}
	text, err := file.Read()
	if err == nil {
		err = json.Unmarshal(text, &s.state)
	}
	if err == nil && len(s.state.Key) == keySize {
		if s.state.Ended == nil {
			s.state.Ended = map[string]time.Time{}
		}
		return s, nil
	}
	if err == nil {
		err = errors.New("the key in it is too short")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		log.Error("sessions of the console begin anew", "err", file.SetAside(err))
	}
	s.state = sessionState{Key: make([]byte, keySize), Ended: map[string]time.Time{}}
	rand.Read(s.state.Key) // never fails since Go 1.24
	return s, s.save()
}

func (s *sessions) save() error {
	text, err := json.Marshal(s.state)
	if err == nil {
		err = s.file.Write(text)
	}
	return err
}

// sign is the signature of a text for one use.
func (s *sessions) sign(use, text string) []byte {
	s.mu.Lock()
	key := s.state.Key
	s.mu.Unlock()
	h := hmac.New(sha256.New, key)
	h.Write([]byte(use + "\x00" + text))
	return h.Sum(nil)
}

// begin makes a session and its cookie.
func (s *sessions) begin(who access.Caller) (cookie string, expires time.Time) {
	one := session{Caller: who, Token: who.Token, ID: rand.Text(), Expires: s.now().Add(sessionFor).UTC().Truncate(time.Second)}
	text, _ := json.Marshal(one)
	payload := base64.RawURLEncoding.EncodeToString(text)
	return payload + "." + base64.RawURLEncoding.EncodeToString(s.sign("session", payload)), one.Expires
}

// maxCookie bounds what is looked at.
const maxCookie = 2048

// read is the session of a cookie; nil where it does not hold.
func (s *sessions) read(cookie string) *session {
	if len(cookie) > maxCookie {
		return nil
	}
	payload, mac, ok := strings.Cut(cookie, ".")
	if !ok {
		return nil
	}
	given, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(given, s.sign("session", payload)) {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	one := &session{}
	if err != nil || json.Unmarshal(text, one) != nil || !s.now().Before(one.Expires) {
		return nil
	}
	one.Caller.Token = one.Token
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.state.Ended[one.ID]; ended {
		return nil
	}
	return one
}

// end logs a session out, also after a restart. The error is for the log.
func (s *sessions) end(one *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	// Later than at its end: a clock that was ahead for a while must not bring it back.
	maps.DeleteFunc(s.state.Ended, func(_ string, expires time.Time) bool { return now.Sub(expires) > endedFor })
	if len(s.state.Ended) >= maxEnded { // all of them end now, rather than that one lives on
		s.state.Ended = map[string]time.Time{}
		s.state.Key = make([]byte, keySize)
		rand.Read(s.state.Key)
	}
	s.state.Ended[one.ID] = one.Expires
	delete(s.said, one.ID)
	return s.save()
}

// formToken is what a form of a session's pages must send.
func (s *sessions) formToken(one *session) string {
	return base64.RawURLEncoding.EncodeToString(s.sign("form", one.ID))
}

func (s *sessions) isFormToken(one *session, token string) bool {
	return hmac.Equal([]byte(token), []byte(s.formToken(one)))
}

// newLink makes a token that logs in once, within a minute.
func (s *sessions) newLink(who access.Caller) string {
	token := rand.Text() + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	maps.DeleteFunc(s.links, func(_ [sha256.Size]byte, l link) bool { return !now.Before(l.expires) })
	if len(s.links) >= maxLinks {
		clear(s.links)
	}
	s.links[sha256.Sum256([]byte(token))] = link{who, now.Add(linkFor)}
	return token
}

// useLink is who logs in with a link, which ends with it.
func (s *sessions) useLink(token string) (access.Caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(token))
	l, ok := s.links[key]
	delete(s.links, key)
	if !ok || !s.now().Before(l.expires) {
		return access.Caller{}, false
	}
	return l.Caller, true
}

// isLink reports whether a link still holds.
func (s *sessions) isLink(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.links[sha256.Sum256([]byte(token))]
	return ok && s.now().Before(l.expires)
}

// say keeps what the next page of a session tells.
func (s *sessions) say(one *session, words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.said) >= maxSaid {
		clear(s.said)
	}
	s.said[one.ID] = words
}

// hear is what there is to tell, once.
func (s *sessions) hear(one *session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	words := s.said[one.ID]
	delete(s.said, one.ID)
	return words
}
