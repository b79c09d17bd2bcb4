package reputation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/mail"
	"postern/reputation/dnsbl"
)

// Evidence is one reason to believe that a target is listed.
type Evidence struct {
	// Source is "zone NAME", or "reply of" the recipient's domain or the upstream.
	Source string    `json:"source"`
	List   string    `json:"list,omitempty"`
	Time   time.Time `json:"time"`
	Last   time.Time `json:"last"` // when it was seen last
	// Codes are the answers of a zone with their meaning.
	Codes []string `json:"codes,omitempty"`
	// Text is that of the zone, or the reply.
	Text         string    `json:"text,omitempty"`
	Weight       float64   `json:"weight"`
	Transactions []string  `json:"transactions,omitempty"` // that were refused
	Ended        time.Time `json:"ended,omitzero"`
	Zone         string    `json:"zone,omitempty"`        // of a poll
	Destination  string    `json:"destination,omitempty"` // of a reply: upstream and domain of the recipient
	// Hearsay: the upstream only passes on what another host has said, or it names
	// an address that is not ours. It is told and changes nothing.
	Hearsay bool `json:"hearsay,omitempty"`
	// Domain is the registered domain of the recipient, of a reply that is about
	// one; Networks are those that take its mail, as far as DNS has told; Clients
	// those whose mail was refused.
	Domain   string   `json:"domain,omitempty"`
	Networks []string `json:"networks,omitempty"`
	Clients  []string `json:"clients,omitempty"`

	accepted int // transactions that this destination took since
}

// Listing is the report on one listing: where, by what evidence, who may have
// caused it, and what to do.
type Listing struct {
	ID       int          `json:"id"`
	Target   dnsbl.Target `json:"target"`
	Streams  []string     `json:"streams"`
	Opened   time.Time    `json:"opened"`
	Ended    time.Time    `json:"ended,omitzero"`
	Evidence []Evidence   `json:"evidence"`
	// Suspects are ranked; empty: nobody changed enough to be one.
	Suspects []Suspect `json:"suspects"`
	Delist   []string  `json:"delist"`    // steps
	FixFirst []string  `json:"fix_first"` // in this order
	Action   string    `json:"action,omitempty"`
	Paused   []string  `json:"paused,omitempty"`   // streams
	Released bool      `json:"released,omitempty"` // an operator let them go on
	// Confirmed: a blocklist that is asked has said it, too.
	Confirmed bool `json:"confirmed,omitempty"`
	// Suspended: its suspect was looked for, once.
	Suspended bool `json:"suspended,omitempty"`
	// TrialPassed is when a message that was let through was taken, which ended
	// the pause. Only what is heard later can begin another.
	TrialPassed time.Time `json:"trial_passed,omitzero"`

	opened, confirmed, ended bool // and not yet told
}

// Open reports whether the listing has not ended.
func (l *Listing) Open() bool { return l.Ended.IsZero() }

// book keeps the listings, open and past.
type book struct {
	now      func() time.Time
	listings []*Listing // oldest first
	pending  map[dnsbl.Target][]*Evidence
	last     int // ID
}

const (
	maxListings = 500 // past ones
	maxEvidence = 40  // of one listing
	maxPending  = 5000
	maxIDs      = 20 // transactions of one evidence
	// replyFor is how long a refusal counts when nothing more is heard.
	replyFor = 24 * time.Hour
	// acceptedEnds is how many transactions a destination must take after a
	// refusal until that is over.
	acceptedEnds = 2
)

func newBook(now func() time.Time) *book {
	return &book{now: now, pending: map[dnsbl.Target][]*Evidence{}}
}

func (b *book) open(t dnsbl.Target) *Listing {
	for _, l := range b.listings {
		if l.Target == t && l.Open() {
			return l
		}
	}
	return nil
}

// note takes evidence in. It returns the open listing that it is of, or nil. sure:
// the evidence stands for itself, whatever its weight.
func (b *book) note(t dnsbl.Target, e Evidence, sure bool) *Listing {
	e.Last = e.Time
	l := b.open(t)
	if l != nil {
		l.join(e)
	} else if list := b.joinPending(t, e); sure || weightOf(list) >= 1 || twoTransactions(list) {
		delete(b.pending, t)
		l = b.begin(t, list)
	}
	if l != nil && e.Zone != "" && !l.Confirmed {
		l.Confirmed, l.confirmed = true, !l.opened
	}
	return l
}

// begin opens a listing. One of replies alone that ended within a day goes on:
// who writes such replies shall not fill the book.
func (b *book) begin(t dnsbl.Target, list []*Evidence) *Listing {
	l := b.lately(t)
	if l == nil {
		b.last++
		l = &Listing{ID: b.last, Target: t, Opened: b.now(), opened: true}
		b.listings = append(b.listings, l)
		b.trim()
	}
	l.Ended = time.Time{}
	for _, p := range list {
		l.join(*p)
	}
	return l
}

// lately is the last listing of a target, if it was one of replies alone and ended
// within a day.
func (b *book) lately(t dnsbl.Target) *Listing {
	for _, l := range slices.Backward(b.listings) {
		if l.Target == t {
			if !l.Confirmed && b.now().Sub(l.Ended) < replyFor {
				return l
			}
			return nil
		}
	}
	return nil
}

// weightOf sums up what zones say.
func weightOf(list []*Evidence) (w float64) {
	for _, e := range list {
		if e.Zone != "" {
			w += e.Weight
		}
	}
	return w + 1e-9 // ten times 0.1 is one
}

// twoTransactions reports whether refusals of two transactions are there.
func twoTransactions(list []*Evidence) bool {
	var ids []string
	for _, e := range list {
		for _, id := range e.Transactions {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return len(ids) >= 2
}

// joinPending keeps evidence that does not open a listing by itself.
func (b *book) joinPending(t dnsbl.Target, e Evidence) []*Evidence {
	now := b.now()
	list := slices.DeleteFunc(b.pending[t], func(p *Evidence) bool { return p.Zone == "" && now.Sub(p.Last) > replyFor })
	if i := slices.IndexFunc(list, e.same); i >= 0 {
		list[i].join(&e)
	} else if len(list) < maxEvidence || e.Zone != "" {
		list = append(list, &e)
	}
	if _, known := b.pending[t]; !known && len(b.pending) >= maxPending {
		for old := range b.pending { // any one: targets are ours, so this many are not real
			delete(b.pending, old)
			break
		}
	}
	b.pending[t] = list
	return list
}

func (e *Evidence) same(o *Evidence) bool {
	return e.Source == o.Source && e.List == o.List && e.Hearsay == o.Hearsay
}

func (e *Evidence) join(o *Evidence) {
	e.Last = later(e.Last, o.Time)
	e.Text = cmp.Or(o.Text, e.Text)
	if len(o.Codes) > 0 {
		e.Codes = o.Codes
	}
	for _, id := range o.Transactions {
		if len(e.Transactions) < maxIDs && !slices.Contains(e.Transactions, id) {
			e.Transactions = append(e.Transactions, id)
		}
	}
	for _, c := range o.Clients {
		if len(e.Clients) < maxClients && !slices.Contains(e.Clients, c) {
			e.Clients = append(e.Clients, c)
		}
	}
	e.accepted = 0
	e.Ended = time.Time{}
}

func (l *Listing) join(e Evidence) {
	for i := range l.Evidence {
		if l.Evidence[i].same(&e) {
			l.Evidence[i].join(&e)
			return
		}
	}
	if len(l.Evidence) >= maxEvidence { // what is over, or hearsay, makes room
		i := slices.IndexFunc(l.Evidence, func(o Evidence) bool { return o.Zone == "" && (o.Hearsay && !e.Hearsay || !o.Ended.IsZero()) })
		if i < 0 && e.Zone == "" {
			return
		}
		if i >= 0 {
			l.Evidence = slices.Delete(l.Evidence, i, i+1)
		}
	}
	l.Evidence = append(l.Evidence, e)
}

// zoneWeight sums up the zones that list it at present.
func (l *Listing) zoneWeight() (w float64) {
	for i := range l.Evidence {
		if e := &l.Evidence[i]; e.Zone != "" && e.Ended.IsZero() {
			w += e.Weight
		}
	}
	return w
}

// witnesses are unrelated receivers that say so themselves, and said it after a
// time.
func (l *Listing) witnesses(after time.Time) []*Evidence {
	var all []*Evidence
	for i := range l.Evidence {
		if e := &l.Evidence[i]; e.witness() && e.Last.After(after) {
			all = append(all, e)
		}
	}
	return unrelated(all)
}

// zoneEnds notes that a zone lists a target no longer. It returns the listing
// that is open for it, or was.
func (b *book) zoneEnds(t dnsbl.Target, zone string) *Listing {
	b.pending[t] = slices.DeleteFunc(b.pending[t], func(e *Evidence) bool { return e.Zone == zone })
	if len(b.pending[t]) == 0 {
		delete(b.pending, t)
	}
	l := b.open(t)
	if l == nil {
		return nil
	}
	for i := range l.Evidence {
		if e := &l.Evidence[i]; e.Zone == zone && e.Ended.IsZero() {
			e.Ended = b.now()
		}
	}
	b.endIfOver(l)
	return l
}

// accepted notes that a destination took mail from a target. It returns the
// listing where that has changed.
func (b *book) accepted(t dnsbl.Target, destination string) *Listing {
	l := b.open(t)
	if l == nil {
		return nil
	}
	changed := false
	for i := range l.Evidence {
		e := &l.Evidence[i]
		if e.Zone != "" || e.Destination != destination || !e.Ended.IsZero() {
			continue
		}
		if e.accepted++; e.accepted >= acceptedEnds {
			e.Ended, changed = b.now(), true
		}
	}
	if !changed {
		return nil
	}
	b.endIfOver(l)
	return l
}

// expire ends what was heard of for the last time long ago, and what zones say
// that are asked no longer. It returns the listings that were open.
func (b *book) expire(p *dnsbl.Poller) (open []*Listing) {
	now := b.now()
	for _, l := range b.listings {
		if !l.Open() {
			continue
		}
		for i := range l.Evidence {
			e := &l.Evidence[i]
			old := e.Zone == "" && now.Sub(e.Last) >= replyFor
			if e.Ended.IsZero() && (old || e.Zone != "" && p.ZoneNamed(e.Zone) == nil) {
				e.Ended = now
			}
		}
		b.endIfOver(l)
		open = append(open, l)
	}
	return open
}

// endIfOver ends a listing that nothing speaks for any longer.
func (b *book) endIfOver(l *Listing) {
	for i := range l.Evidence {
		if l.Evidence[i].Ended.IsZero() {
			return
		}
	}
	l.Ended, l.ended = b.now(), true
}

// trim forgets the oldest past listings.
func (b *book) trim() {
	for past := len(b.listings) - maxListings; past > 0; past-- {
		i := slices.IndexFunc(b.listings, func(l *Listing) bool { return !l.Open() })
		if i < 0 {
			return
		}
		b.listings = slices.Delete(b.listings, i, i+1)
	}
}

// advise writes what to do about a listing; command writes a command of an
// operator.
func (l *Listing) advise(p *dnsbl.Poller, command func(words ...string) string) {
	l.Delist = nil
	for i := range l.Evidence {
		e := &l.Evidence[i]
		if z := p.ZoneNamed(e.Zone); z != nil && z.Config.Delist != "" {
			l.Delist = append(l.Delist, fmt.Sprintf("%s: ask for removal at %s", e.Zone, strings.ReplaceAll(z.Config.Delist, "{}", l.Target.Name)))
		} else if link := firstLink(e.Text); link != "" {
			l.Delist = append(l.Delist, fmt.Sprintf("%s: see %s", cmp.Or(e.List, e.Source), link))
		}
	}
	if len(l.Delist) == 0 {
		l.Delist = []string{"no removal page is known: set delist for the zone, or look for the list's own page"}
	}
	l.FixFirst = []string{"stop the cause before asking for removal: lists that are asked too early list again, and longer"}
	for _, s := range l.Suspects[:min(len(l.Suspects), 3)] {
		l.FixFirst = append(l.FixFirst, s.Remedy(l.ID, command))
	}
	if len(l.Suspects) == 0 {
		l.FixFirst = append(l.FixFirst, "no sender stands out: look at open proxies and other mail sources behind "+l.Target.Name+", and at shared neighbours of its network")
	}
	l.FixFirst = append(l.FixFirst, "check identity: "+command("check", "-dns"))
}

// Remedy says what to do about a suspect of the listing with this number. It ends
// with the command, as command writes it, that stops the suspect until the cause
// is found.
func (s *Suspect) Remedy(id int, command func(words ...string) string) string {
	who, name := "client:"+s.Name, s.Kind+" "+s.Name
	first := "look at what it runs"
	switch {
	case s.Kind == string(aUser):
		who, first = userTarget(s.Name), "change its password"
		if submitter, ok := mail.SubmitterOf(s.Name); ok {
			name = "submitter " + submitter
		}
	case s.Kind == string(aSender):
		who, name, first = s.Name, name+" of client "+s.Client, "stop it there"
		if strings.HasPrefix(who, "-") { // it would be read as a flag
			who = "sender:" + who
		}
		if s.User != "" {
			who, name, first = userTarget(s.User), s.Kind+" "+s.Name, "change the password of user "+s.User
			if submitter, ok := mail.SubmitterOf(s.User); ok {
				first = "change the password of the mailbox " + submitter + ", or look at the script of that name"
			}
		}
	}
	return fmt.Sprintf("%s: %s (%s); until then: %s", name, first, s.Explain(),
		command("suspend", who, "-reason", fmt.Sprintf("listing %d", id)))
}

// userTarget is how a command names a user, or the submitter in its place.
func userTarget(name string) string {
	if _, ok := mail.SubmitterOf(name); ok {
		return name
	}
	return "user:" + name
}

// firstLink finds an https or http link in a reply or a zone's text.
func firstLink(text string) string {
	for _, scheme := range []string{"https://", "http://"} {
		if i := strings.Index(text, scheme); i >= 0 {
			link := text[i:]
			if end := strings.IndexAny(link, " \t\r\n\"<>)]"); end >= 0 {
				link = link[:end]
			}
			return strings.TrimRight(link, ".,;")
		}
	}
	return ""
}
