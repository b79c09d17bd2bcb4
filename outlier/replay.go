package outlier

import (
	"math"
	"time"

	"postern/mail"
	"postern/outlier/brake"
	"postern/outlier/detector"
)

// Replay is the detector alone, on traffic that brings its own time: no clock,
// no stored state, nothing is deferred.
type Replay struct {
	detector *detector.Detector
	rules    *rules
	rcpts    []detector.Recipient // room for those of one message
	paces    *brake.Book[detector.Who]
	braked   map[detector.Who]int64 // until when, in seconds since 1970
}

// NewReplay makes a detector that has seen nothing.
func NewReplay(cfg Config) (*Replay, error) {
	r, err := newRules(cfg, nil)
	if err != nil {
		return nil, err
	}
	return &Replay{detector: detector.New(cfg.settings(), detector.Seed{0x243F6A8885A308D3, 0x13198A2E03707344}), rules: r,
		paces: brake.NewBook[detector.Who](), braked: map[detector.Who]int64{}}, nil
}

// Message counts one message, of which the upstream refused so many recipients
// with 5yz, and gives the scores of its sender and of its client; an alarm is a
// score of 1 and more. Scores are in units of the softest action.
// at is in seconds since 1970.
func (r *Replay) Message(at int64, sender, client string, rcpts []string, refused int) (ofThis, ofClient float64) {
	s := r.UserMessage(at, "", sender, client, rcpts, refused)
	return s.Sender, s.Client
}

// Scores are those of one message.
type Scores struct {
	Sender, User, Client float64
	// Waiting are the recipients that the brake would have held up. They are counted
	// all the same, as if they had been sent.
	Waiting int
}

// UserMessage is Message with a SASL user; "" is none.
func (r *Replay) UserMessage(at int64, user, sender, client string, rcpts []string, refused int) (s Scores) {
	from := mail.IdentityOf(sender)
	sender = senderName(from)
	r.rcpts = r.rcpts[:0]
	for i, name := range rcpts {
		// Which ones were refused is not said. That a message with one refused
		// recipient makes the others known matters more than who it was.
		r.rcpts = append(r.rcpts, detector.Recipient{Hash: r.detector.Hash(string(mail.RecipientOf(name))), Refused: i < refused, Took: refused < len(rcpts)})
	}
	s.Waiting = r.waiting(at, user, sender, client)
	found := r.detector.Count(&detector.Event{
		At: at, Client: client, User: user, Sender: sender, Recipients: r.rcpts, Alone: r.rules.exempt.Match(from),
	}, r.rules.expect(time.Unix(at, 0)))
	for i := range found {
		f := &found[i]
		if f.Score == 0 {
			continue
		}
		k, thresholds := f.Who(), &r.rules.Volume
		if r.rules.brakes(r.detector, time.Unix(at, 0), k, client, f) {
			r.braked[k] = at + int64(brakeTime/time.Second)
		}
		if f.Names {
			thresholds = &r.rules.Names
		}
		if r.rules.mode(k, client) == Exempt {
			continue
		}
		score := float64(f.Score) * r.rules.policy(client).Sensitivity
		if r.detector.Early(f) && thresholds.level(score) < Throttled {
			continue
		}
		score /= thresholds.lowest()
		switch k.Scope {
		case Client:
			s.Client = max(s.Client, score)
		case User:
			s.User = max(s.User, score)
		default:
			s.Sender = score
		}
	}
	return s
}

// waiting is how many of the recipients of the message at hand the brake would hold up.
func (r *Replay) waiting(at int64, user, sender, client string) (n int) {
	if len(r.braked) == 0 || sender == "" {
		return 0
	}
	now := time.Unix(at, 0)
	for _, k := range [...]detector.Who{detector.Submitter(user, sender), {Scope: User, Name: user}} {
		until, ok := r.braked[k]
		if !ok {
			continue
		}
		if f := r.detector.ProjectStrangers(at, k, client, 0, r.rules.expect(now)); until < at || !r.rules.brakes(r.detector, now, k, client, &f) {
			delete(r.braked, k)
			continue
		}
		for i := range r.rcpts {
			if !r.detector.Knows(client, r.rcpts[i].Hash) && r.paces.Take(now, k) > 0 {
				n++
			}
		}
		return n
	}
	return 0
}

// lowest is the score of the softest action.
func (l *Thresholds) lowest() float64 {
	for _, t := range [...]float64{l.Observe, l.Alert, l.Throttle, l.Suspend} {
		if t > 0 {
			return t
		}
	}
	return math.Inf(1)
}
