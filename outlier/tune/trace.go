package tune

import (
	"cmp"
	"crypto/rand"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"postern/mail"
	"postern/outlier"
	"postern/outlier/detector"
	"postern/outlier/networks"
)

// Bounds of a trace: beyond them the mail of every second account is left out, then of
// three in four, and so on.
const (
	maxMessages   = 1_500_000
	maxRecipients = 3_000_000
	maxNames      = 400_000
)

// Trace is past mail in the form that the detector takes, in bounded memory. It is not
// safe for concurrent use.
type Trace struct {
	// Shift: of the accounts one in 2^Shift is looked at.
	Shift int

	cfg        outlier.Config
	key        detector.Seed
	reader     *outlier.Replay
	now        time.Time
	limit      bounds
	sample     maphash.Seed
	names      []string
	numbers    map[string]uint32
	messages   []message
	recipients int
	room       outlier.Sent
}

// bounds are the most that a trace holds.
type bounds struct{ messages, recipients, names int }

// message is one of the past. Names are numbers of Trace.names.
type message struct {
	at                   int64
	client, user, sender uint32
	alone                bool
	sign                 sign
	recipients           []detector.Recipient
}

// sign is what a networks.Sign says that a score takes account of.
type sign struct {
	evidence float32
	within   uint8
}

// NewTrace makes a trace without mail. Mail later than now is not believed. key is that
// of the hashes of recipients.
func NewTrace(cfg outlier.Config, key detector.Seed, now time.Time) (*Trace, error) {
	table := cfg.ASTable
	cfg = plain(cfg, 1)
	reading := cfg
	reading.ASTable = table
	r, err := outlier.NewReplayKeyed(reading, key)
	if err != nil {
		return nil, err
	}
	return &Trace{cfg: cfg, key: key, reader: r, now: now, limit: bounds{maxMessages, maxRecipients, maxNames},
		sample: maphash.MakeSeed(), numbers: map[string]uint32{}}, nil
}

// RandomKey is a key that nobody can know.
func RandomKey() detector.Seed {
	var b [detector.SeedSize]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return detector.ReadSeed(b[:])
}

// plain are the settings of a replay at a sensitivity: an observation is not an alarm, and
// what is remembered is bounded.
func plain(cfg outlier.Config, sensitivity float64) outlier.Config {
	cfg.Sensitivity = sensitivity
	cfg.Volume.Observe, cfg.Names.Observe = 0, 0
	cfg.Brake, cfg.Decoys, cfg.ASTable = 0, nil, ""
	cfg.MaxSenders, cfg.MaxKnown = min(cfg.MaxSenders, maxNames), min(cfg.MaxKnown, 4_000_000)
	return cfg
}

// errTooMany is returned where even few accounts are too many.
var errTooMany = errors.New("there are more names of senders in the journal than can be looked at")

// Add takes an event of the journal.
func (t *Trace) Add(ev *mail.Event) error {
	if !t.reader.Read(ev, &t.room) || t.room.At <= 0 || t.room.At > t.now.Unix() || !t.sampled(&t.room) {
		return nil
	}
	p := &t.room
	m := message{at: p.At, client: t.number(p.Client), user: t.number(p.User), sender: t.number(p.Sender), alone: p.Alone}
	m.sign = sign{p.Elsewhere.Evidence, uint8(min(p.Elsewhere.Within, 255))}
	m.recipients = slices.Clone(p.Recipients)
	t.messages = append(t.messages, m)
	t.recipients += len(m.recipients)
	for len(t.messages) > t.limit.messages || t.recipients > t.limit.recipients || len(t.names) > t.limit.names {
		if t.Shift++; t.Shift > 20 {
			return errTooMany
		}
		t.thin()
	}
	return nil
}

// sampled reports whether the account of a message is looked at.
func (t *Trace) sampled(p *outlier.Sent) bool {
	if t.Shift == 0 {
		return true
	}
	account := p.User
	if account == "" {
		account = p.Sender
	}
	return maphash.String(t.sample, p.Client+" "+account)>>(64-t.Shift) == 0
}

// thin leaves out the accounts that are no longer looked at.
func (t *Trace) thin() {
	old, names := t.messages, t.names
	t.messages, t.recipients, t.names, t.numbers = nil, 0, nil, map[string]uint32{}
	for i := range old {
		m := old[i]
		client, user, sender := names[m.client], names[m.user], names[m.sender]
		if !t.sampled(&outlier.Sent{Client: client, User: user, Sender: sender}) {
			continue
		}
		m.client, m.user, m.sender = t.number(client), t.number(user), t.number(sender)
		t.messages = append(t.messages, m)
		t.recipients += len(m.recipients)
	}
}

func (t *Trace) number(name string) uint32 {
	n, ok := t.numbers[name]
	if !ok {
		n = uint32(len(t.names))
		t.names = append(t.names, name)
		t.numbers[name] = n
	}
	return n
}

// sort puts the mail in the order of time: journals of several nodes overlap. What lies before
// the last long silence is left out: a few lines of 1970 would make 56 years of the journal,
// in which hardly any alarm was raised a year.
func (t *Trace) sort() {
	slices.SortStableFunc(t.messages, func(a, b message) int { return cmp.Compare(a.at, b.at) })
	t.messages = t.messages[behindSilence(len(t.messages), func(i int) int64 { return t.messages[i].at }):]
}

// sent is a message as a replay takes it.
func (t *Trace) sent(m *message) outlier.Sent {
	return outlier.Sent{
		At: m.at, Client: t.names[m.client], User: t.names[m.user], Sender: t.names[m.sender], Recipients: m.recipients, Alone: m.alone,
		Elsewhere: networks.Sign{New: true, Evidence: m.sign.evidence, Within: int(m.sign.within)},
	}
}

// account is who answers for a message: the user or submitter, without one the sender;
// false for the null reverse-path of nobody.
func (m *message) account(t *Trace) (a account, ok bool) {
	if t.names[m.user] != "" {
		return account{m.client, m.user}, true
	}
	return account{m.client, m.sender}, t.names[m.sender] != ""
}

// account is one of a client: a user, a submitter, or without these a sender.
type account struct{ client, name uint32 }
