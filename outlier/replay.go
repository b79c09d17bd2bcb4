package outlier

import (
	"math"
	"net/netip"
	"time"

	"postern/mail"
	"postern/outlier/brake"
	"postern/outlier/detector"
	"postern/outlier/networks"
)

// Replay is the detector alone, on traffic that brings its own time: no clock,
// no stored state, nothing is deferred.
type Replay struct {
	detector *detector.Detector
	rules    *rules
	places   *networks.Memory
	sent     Sent // room for the message at hand
	paces    *brake.Book[detector.Who]
	braked   map[detector.Who]int64 // until when, in seconds since 1970
}

// replaySeed makes the same figures of the same traffic.
var replaySeed = detector.Seed{0x243F6A8885A308D3, 0x13198A2E03707344}

// NewReplay makes a Replay that has seen nothing. The error is about cfg.
func NewReplay(cfg Config) (*Replay, error) { return NewReplayKeyed(cfg, replaySeed) }

// NewReplayKeyed is NewReplay with a given key for the hashes of recipients: Replays with
// one key can count the same Sent.
func NewReplayKeyed(cfg Config, key detector.Seed) (*Replay, error) {
	r, err := newRules(cfg, nil)
	if err != nil {
		return nil, err
	}
	as, err := openASFile(cfg.ASTable, asFile{})
	if err != nil {
		return nil, err
	}
	places := networks.New(cfg.MaxSenders / 4)
	places.UseTable(as.table)
	return &Replay{detector: detector.New(cfg.settings(), key), rules: r, places: places,
		paces: brake.NewBook[detector.Who](), braked: map[detector.Who]int64{}}, nil
}

// Sent is one message of the past, as the detector takes it.
type Sent struct {
	At                   int64  // in seconds since 1970
	Client, User, Sender string // User is a mail.Event.Party, Sender "" for the null reverse-path
	Recipients           []detector.Recipient
	Alone                bool // it counts for its sender only
	// Elsewhere is what is known of the network that it came from.
	Elsewhere networks.Sign
}

// Message counts one message, of which the upstream refused so many recipients with 5yz,
// and returns the scores of its sender and of its client. Scores are in units of the
// softest action, so that 1 or more is an alarm. at is in seconds since 1970.
func (r *Replay) Message(at int64, sender, client string, rcpts []string, refused int) (ofThis, ofClient float64) {
	s := r.userMessage(at, "", sender, client, rcpts, refused)
	return s.Sender, s.Client
}

// Scores are the scores of one message.
type Scores struct {
	Sender, User, Client float64
	// Networks is the number of networks within a day that are new and nobody else's, where
	// that number alerts by itself, else 0.
	Networks int
	// Waiting is the number of recipients that the brake would have held up. They count all
	// the same, as if the message had been sent to them.
	Waiting int
}

// userMessage is Message with a SASL user; "" is none.
func (r *Replay) userMessage(at int64, user, sender, client string, rcpts []string, refused int) Scores {
	return r.MessageFrom(netip.Addr{}, at, user, sender, client, rcpts, refused)
}

// Signs are what else a replay is to assume about a message.
type Signs struct {
	New, Colleagues bool // its network is new for the user, and others have used it
	NewName         bool // its EHLO name is new
	Listed          bool // a blocklist lists its address
	Harmful         bool // a scanner found spam or a virus in it
}

// MessageFrom is Message with a user and the address that the user sends from; the zero
// address is one that is not known.
func (r *Replay) MessageFrom(from netip.Addr, at int64, user, sender, client string, rcpts []string, refused int) Scores {
	return r.MessageWith(Signs{}, from, at, user, sender, client, rcpts, refused)
}

// MessageWith is MessageFrom for a message that has these signs.
func (r *Replay) MessageWith(signs Signs, from netip.Addr, at int64, user, sender, client string, rcpts []string, refused int) Scores {
	id := mail.IdentityOf(sender)
	p := &r.sent
	*p = Sent{At: at, Client: client, User: user, Sender: senderName(id), Recipients: p.Recipients[:0], Alone: r.rules.exempt.Match(id)}
	for i, name := range rcpts {
		// Which ones were refused is not said. That a message with one refused
		// recipient makes the others known matters more than who it was.
		p.Recipients = append(p.Recipients, detector.Recipient{Hash: r.hash(name), Refused: signs.Harmful || i < refused, Took: !signs.Harmful && refused < len(rcpts)})
	}
	if user != "" && from.IsValid() {
		p.Elsewhere = r.places.Seen(client, user, from, "", at)
	}
	signs.mark(&p.Elsewhere)
	return r.Count(p)
}

// mark adds signs to what is known of where a message comes from.
func (g *Signs) mark(s *networks.Sign) {
	s.New, s.Colleagues, s.NewName = s.New || g.New, s.Colleagues || g.Colleagues, s.NewName || g.NewName
	if g.Listed {
		s.Listed = "a blocklist"
	}
	s.Weigh()
}

// hash is the hash of a recipient.
func (r *Replay) hash(recipient string) uint64 {
	return r.detector.Hash(string(mail.RecipientOf(recipient)))
}

// Read copies what the detector needs from an event of the journal into p, whose slice is
// used again. It returns false where no client sent the message or no upstream was asked.
func (r *Replay) Read(ev *mail.Event, p *Sent) bool {
	if ev.Client == "" {
		return false
	}
	from := mail.IdentityOf(ev.From)
	*p = Sent{At: ev.Time.Add(ev.Duration).Unix(), Client: ev.Client, User: ev.Party(), Sender: senderName(from), Recipients: p.Recipients[:0]}
	p.Alone = r.rules.bulkStreams[ev.Stream] || r.rules.exempt.Match(from)
	n := detector.Event{Sender: p.Sender, Recipients: p.Recipients}
	harmful := ev.Harmful()
	for i := range ev.To {
		to := &ev.To[i]
		r.rules.sort(&n, to, harmful && to.Rule == ev.Rule, r.hash)
	}
	p.Recipients = n.Recipients
	if p.User != "" {
		at, ehlo := networks.Origin(ev)
		p.Elsewhere = r.places.Seen(ev.Client, p.User, at, ehlo, p.At)
	}
	return len(p.Recipients) > 0
}

// Judged reports whether mail of such a sender is judged at all, that is not exempt.
func (r *Replay) Judged(client, user, sender string) bool {
	return r.rules.mode(detector.Submitter(user, sender), client) != Exempt
}

// Count counts one message and returns its scores, in units of the softest action. The
// messages of a Replay must come in the order of their time.
func (r *Replay) Count(p *Sent) (s Scores) {
	now := time.Unix(p.At, 0)
	s.Waiting = r.waiting(p)
	found := r.detector.Count(&detector.Event{
		At: p.At, Client: p.Client, User: p.User, Sender: p.Sender, Recipients: p.Recipients, Alone: p.Alone,
	}, r.rules.expect(now))
	for i := range found {
		r.score(&found[i], p, &s)
	}
	if most := r.rules.Networks.Alarm; most > 0 && p.Elsewhere.Within >= most {
		s.Networks = p.Elsewhere.Within
	}
	return s
}

// score takes a finding of a message into its scores.
func (r *Replay) score(f *detector.Finding, p *Sent, s *Scores) {
	if f.Score == 0 {
		return
	}
	k, thresholds := f.Who(), &r.rules.Volume
	if r.rules.brakes(r.detector, time.Unix(p.At, 0), k, p.Client, f) {
		r.braked[k] = p.At + int64(brakeTime/time.Second)
	}
	if f.Names {
		thresholds = &r.rules.Names
	}
	if r.rules.mode(k, p.Client) == Exempt {
		return
	}
	more := r.rules.fromElsewhere(&p.Elsewhere, k, f)
	score := (float64(f.Score) + more) * r.rules.policy(p.Client).Sensitivity
	if r.detector.Early(f) && thresholds.level(score) < Throttled {
		return
	}
	score /= thresholds.lowest()
	switch k.Scope {
	case Client:
		s.Client = max(s.Client, score)
	case User, Mailbox:
		s.User = max(s.User, score)
	default:
		s.Sender = score
	}
}

// waiting is how many of the recipients of the message at hand the brake would hold up.
func (r *Replay) waiting(p *Sent) (n int) {
	if len(r.braked) == 0 || p.Sender == "" {
		return 0
	}
	now := time.Unix(p.At, 0)
	for _, k := range [...]detector.Who{detector.Submitter(p.User, p.Sender), detector.PartyWho(p.User)} {
		until, ok := r.braked[k]
		if !ok {
			continue
		}
		if f := r.detector.ProjectStrangers(p.At, k, p.Client, 0, r.rules.expect(now)); until < p.At || !r.rules.brakes(r.detector, now, k, p.Client, &f) {
			delete(r.braked, k)
			continue
		}
		for i := range p.Recipients {
			switch {
			case r.detector.Knows(p.Client, p.Recipients[i].Hash):
			case r.paces.Wait(now, k, 1) > 0:
				n++
			default:
				r.paces.Take(k, 1)
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
