package resolve

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// Owner is the domain under which somebody has registered a name, such as
// "example.co.uk" for "mx1.example.co.uk": whoever owns that decides how long questions
// about all names below take.
func Owner(name string) string {
	name = strings.TrimSuffix(name, ".")
	if owner, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return owner
	}
	return name
}

// shares hold how much is under way for each owner, so that none takes what is there for
// all. The zero value is ready.
type shares struct {
	mu sync.Mutex
	of map[string]*share
}

type share struct {
	slots chan struct{}
	users int // who has a slot or waits for one
}

// take waits for one of an owner's most slots; done gives it back. ok is false where ctx
// ended before.
func (s *shares) take(ctx context.Context, owner string, most int) (done func(), ok bool) {
	s.mu.Lock()
	if s.of == nil {
		s.of = map[string]*share{}
	}
	one := s.of[owner]
	if one == nil {
		one = &share{slots: make(chan struct{}, most)}
		s.of[owner] = one
	}
	one.users++
	s.mu.Unlock()
	select {
	case one.slots <- struct{}{}:
		return func() {
			<-one.slots
			s.leave(owner, one)
		}, true
	case <-ctx.Done():
		s.leave(owner, one)
		return nil, false
	}
}

func (s *shares) leave(owner string, one *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.of, owner)
	}
}
