package reputation

import (
	"net/netip"
	"slices"
	"time"

	"postern/mail"
)

// Transaction is what a report needs to know of a mail transaction.
type Transaction struct {
	Time     time.Time
	ID       string
	Client   string
	User     string // a mail.User, or a mail.Party
	Sender   mail.Identity
	Stream   string
	Upstream string
	// SourceIP and Domains matter only where a recipient was refused.
	SourceIP netip.Addr // zero: the system chose
	Domains  []string   // of reverse-path, header From and signatures
	// Said is what the upstream's host said instead of taking a transaction, or hosts of
	// several domains; nil: nothing.
	Said []*mail.Evidence
	// Recipients that the upstream was asked about.
	Recipients []Recipient
}

// Recipient is one recipient of a Transaction.
type Recipient struct {
	Address mail.RecipientID
	Domain  string
	Relayed bool
	Trial   bool // it went through although its stream or domain waits
	// Class of the upstream's refusal as package upstream/replies finds it; "" for none.
	Class mail.Class
	Reply string // of the refusal, with its code
	Code  int
	// Said is what the refusal is worth; nil where that is not known, as in
	// journals of earlier releases.
	Said *mail.Evidence
}

func (r *Recipient) refused() bool { return r.Code >= 500 }

// entityKind is a sort of possible cause.
type entityKind string

const (
	aSender entityKind = "sender"
	aUser   entityKind = "user"
	aClient entityKind = "client"
)

type entityKey struct {
	Kind   entityKind
	Name   string
	Stream string
}

// bucket is one hour of one entity.
type bucket struct {
	Hour    int64 // since 1970
	Count   tally
	Senders uint32 // names that were never seen before; of users and clients
}

// tally counts recipients.
type tally struct {
	Messages, Recipients, Strangers, Refused uint32
}

func (t *tally) add(o tally) {
	t.Messages += o.Messages
	t.Recipients += o.Recipients
	t.Strangers += o.Strangers
	t.Refused += o.Refused
}

// past is what an entity did before the hours that reports look at.
type past struct {
	Hour, Day  peak // the most of an hour and of a day, slowly forgotten
	Names      float64
	Recipients float64 // decayed sums, for shares
	Strangers  float64
	Refused    float64
	Days       float64 // with mail, decayed
	Updated    int64   // day of the last decay
	DayNow     int64   // the day that is being summed up
	DaySum     tally
}

// peak is the most of each count.
type peak struct{ Recipients, Strangers, Refused float64 }

func (p *peak) raise(t tally) {
	p.Recipients = max(p.Recipients, float64(t.Recipients))
	p.Strangers = max(p.Strangers, float64(t.Strangers))
	p.Refused = max(p.Refused, float64(t.Refused))
}

func (p *peak) decay(f float64) {
	p.Recipients *= f
	p.Strangers *= f
	p.Refused *= f
}

type entity struct {
	First, Last time.Time
	Hours       []bucket // ascending
	Past        past
	Samples     []sample // of transactions, the newest last
	Client      string   // of a sender, its last one
	User        string
}

type sample struct {
	ID      string
	Time    time.Time
	Refused bool
}

// History keeps what senders, users and clients did: by the hour as far back as reports
// look, and what was usual before. It is not safe for concurrent use. It keeps at most
// 50,000 of them; those idle longest go first.
type History struct {
	lookBack time.Duration
	entities map[entityKey]*entity
	known    *pairSet // of client and recipient
	began    time.Time
}

const (
	maxEntities = 50_000
	maxSamples  = 8
	// settling is for how long before the hours that reports look at nothing
	// becomes usual yet: an abuse of days must not hide its own end.
	settling = 72 * time.Hour
	halfLife = 45.0 // days after which the past counts half
)

// NewHistory makes an empty history; lookBack is how far before a listing its reports look.
func NewHistory(lookBack time.Duration) *History {
	return &History{lookBack: lookBack, entities: map[entityKey]*entity{}, known: newPairSet()}
}

// Add counts one transaction. Transactions come roughly in the order of their time.
func (h *History) Add(t *Transaction) {
	if len(t.Recipients) == 0 {
		return
	}
	if h.began.IsZero() {
		h.began = t.Time
	}
	c := tally{Messages: 1, Recipients: uint32(len(t.Recipients))}
	for i := range t.Recipients {
		r := &t.Recipients[i]
		if !h.known.add(t.Client, string(r.Address)) {
			c.Strangers++
		}
		if r.refused() || r.Class == mail.ClassContentSpam || r.Class == mail.ClassContentVirus || r.Class == mail.ClassListedIP {
			c.Refused++
		}
	}
	s, newName := h.count(entityKey{aSender, string(t.Sender), t.Stream}, t, c, 0)
	s.Client, s.User = t.Client, t.User
	h.count(entityKey{aClient, t.Client, t.Stream}, t, c, newName)
	if t.User != "" {
		u, _ := h.count(entityKey{aUser, t.User, t.Stream}, t, c, newName)
		u.Client = t.Client
	}
}

// count counts a transaction for one entity; made is 1 where it is a new one.
func (h *History) count(k entityKey, t *Transaction, c tally, newNames uint32) (e *entity, made uint32) {
	e = h.entities[k]
	if e == nil {
		made = 1
		if len(h.entities) >= maxEntities {
			h.makeRoom()
		}
		e = &entity{First: t.Time}
		h.entities[k] = e
	}
	e.Last = t.Time
	hour := t.Time.Unix() / 3600
	if n := len(e.Hours); n == 0 || e.Hours[n-1].Hour < hour {
		e.fold(t.Time.Add(-h.lookBack - settling))
		e.Hours = append(e.Hours, bucket{Hour: hour})
	}
	b := &e.Hours[len(e.Hours)-1] // late ones count in the newest hour
	b.Count.add(c)
	b.Senders += newNames
	e.sample(t, c)
	return e, made
}

// sample keeps the ids of a few transactions: refused ones before others, new
// ones before old.
func (e *entity) sample(t *Transaction, c tally) {
	s := sample{t.ID, t.Time, c.Refused > 0}
	if len(e.Samples) < maxSamples {
		e.Samples = append(e.Samples, s)
		return
	}
	drop := slices.IndexFunc(e.Samples, func(o sample) bool { return !o.Refused })
	if drop < 0 {
		if !s.Refused {
			return
		}
		drop = 0
	}
	copy(e.Samples[drop:], e.Samples[drop+1:])
	e.Samples[maxSamples-1] = s
}

// fold moves the hours before a time into the past.
func (e *entity) fold(before time.Time) {
	limit := before.Unix() / 3600
	n := 0
	for n < len(e.Hours) && e.Hours[n].Hour < limit {
		e.Past.take(&e.Hours[n])
		n++
	}
	e.Hours = slices.Delete(e.Hours, 0, n)
}

// take adds an hour, in order of time.
func (p *past) take(b *bucket) {
	day := b.Hour / 24
	if day != p.DayNow {
		p.closeDay()
		p.DayNow = day
	}
	p.Hour.raise(b.Count)
	p.DaySum.add(b.Count)
	p.Names = max(p.Names, float64(b.Senders))
}

// closeDay counts the day that is over.
func (p *past) closeDay() {
	if p.DaySum.Messages == 0 {
		return
	}
	f := decay(p.DayNow - p.Updated)
	p.Hour.decay(f)
	p.Day.decay(f)
	for _, v := range []*float64{&p.Names, &p.Recipients, &p.Strangers, &p.Refused, &p.Days} {
		*v *= f
	}
	p.Updated = p.DayNow
	p.Day.raise(p.DaySum)
	p.Recipients += float64(p.DaySum.Recipients)
	p.Strangers += float64(p.DaySum.Strangers)
	p.Refused += float64(p.DaySum.Refused)
	p.Days++
	p.DaySum = tally{}
}

// makeRoom forgets the quarter that was idle longest.
func (h *History) makeRoom() {
	dropEarliest(h.entities, 4, func(e *entity) time.Time { return e.Last })
}
