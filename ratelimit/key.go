package ratelimit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"postern/mail"
)

// Dimension is one thing that a limit counts on: a name of per, such as the client, the
// sender, or the domain of each recipient. Most have one value for a transaction (Facts);
// PerRecipientDomain and PerProvider have one for each recipient (Recipient).
type Dimension uint8

// What a limit can count on, in the order in which keys name them.
const (
	PerAll Dimension = iota
	PerClient
	PerUser
	PerClientIP
	PerSender
	PerSenderDomain
	PerRecipientDomain
	PerStream
	PerUpstream
	PerSourceIP
	// PerProvider is the group of the recipient's MX hosts, see package mx/provider. What a
	// group bounds by itself (connections, pace) stands there, too.
	PerProvider
	// PerSubmitter is known only once the header has come, see Account.Submitted.
	PerSubmitter
)

// dimensions has a row for each Dimension.
var dimensions = [...]struct {
	// name is how the file, keys and queries call it; a flag has "-" for "_".
	name string
	// about describes the flag, its value in back quotes.
	about string
	// fact is where a transaction has it, nil where each recipient has its own;
	// none is what counts where that is empty, "" for nothing.
	fact func(*Facts) *string
	none string
	// filter is where an operator names it.
	filter func(*Filter) *string
}{
	PerAll:             {name: "all"},
	PerClient:          {"client", "`name` of the client", func(f *Facts) *string { return &f.Client }, noClient, func(f *Filter) *string { return &f.Client }},
	PerUser:            {"user", "SASL `user`", func(f *Facts) *string { return &f.User }, "", func(f *Filter) *string { return &f.User }},
	PerClientIP:        {"client_ip", "`address` of the client", func(f *Facts) *string { return &f.ClientIP }, "", func(f *Filter) *string { return &f.ClientIP }},
	PerSender:          {"sender", "reverse-path, an `address` or <>", func(f *Facts) *string { return (*string)(&f.Sender) }, nullSender, func(f *Filter) *string { return (*string)(&f.Sender) }},
	PerSenderDomain:    {"sender_domain", "`domain` of the reverse-path", func(f *Facts) *string { return &f.SenderDomain }, nullSender, func(f *Filter) *string { return &f.SenderDomain }},
	PerRecipientDomain: {"recipient_domain", "`domain` of the recipient", nil, "", func(f *Filter) *string { return &f.RecipientDomain }},
	PerStream:          {"stream", "`name` of the stream", func(f *Facts) *string { return &f.Stream }, "", func(f *Filter) *string { return &f.Stream }},
	PerUpstream:        {"upstream", "`name` of the upstream", func(f *Facts) *string { return &f.Upstream }, "", func(f *Filter) *string { return &f.Upstream }},
	PerSourceIP:        {"source_ip", "`address` that mail leaves from", func(f *Facts) *string { return &f.SourceIP }, "", func(f *Filter) *string { return &f.SourceIP }},
	PerProvider:        {"provider", "`group` of receivers", func(f *Facts) *string { return &f.Provider }, "", func(f *Filter) *string { return &f.Provider }},
	PerSubmitter:       {"submitter", "mailbox or script behind a client, `client/name`", func(f *Facts) *string { return &f.Submitter }, "", func(f *Filter) *string { return &f.Submitter }},
}

// matchOrder is how dimensions go before one another when each has an override.
var matchOrder = [...]Dimension{
	PerSender, PerSubmitter, PerUser, PerClientIP, PerSenderDomain, PerRecipientDomain, PerProvider,
	PerClient, PerStream, PerUpstream, PerSourceIP, PerAll,
}

// Dimensions lists all that a mail can differ in: every Dimension but PerAll.
func Dimensions() []Dimension {
	all := make([]Dimension, 0, len(dimensions)-1)
	for d := range Dimension(len(dimensions)) {
		if d != PerAll {
			all = append(all, d)
		}
	}
	return all
}

// String is the name in the file.
func (d Dimension) String() string { return dimensions[d].name }

// About describes a value of d for a flag, with a word for it in back quotes.
func (d Dimension) About() string { return dimensions[d].about }

// MarshalText writes the name in the file.
func (d Dimension) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the name in the file.
func (d *Dimension) UnmarshalText(text []byte) error {
	names := make([]string, len(dimensions))
	for i := range dimensions {
		names[i] = dimensions[i].name
	}
	i, err := parseName(text, names)
	*d = Dimension(i)
	return err
}

// Per is the list of what a limit counts on; in the file a single one may
// stand without brackets.
type Per []Dimension

// UnmarshalText reads a single dimension.
func (p *Per) UnmarshalText(text []byte) error {
	var d Dimension
	if err := d.UnmarshalText(text); err != nil {
		return err
	}
	*p = Per{d}
	return nil
}

// String names the dimensions in plain words: "client and recipient domain".
func (p Per) String() string {
	words := make([]string, len(p))
	for i, d := range p {
		words[i] = strings.ReplaceAll(d.String(), "_", " ")
	}
	return strings.Join(words, " and ")
}

// Facts are what limits can see of a transaction. User is in the form of mail.User,
// SenderDomain is the domain of Sender ("" for the null sender), and ClientIP and SourceIP
// are addresses in text form. An empty field means that the mail has no such thing.
type Facts struct {
	Client, User, ClientIP string
	Submitter              string // client, "/" and name
	// Tells: the client tells, by the header or by XFORWARD, from where its submitters
	// send; SubmitterIP is what it has told. Names: it tells who they are.
	Tells, Names bool
	SubmitterIP  string
	// Anywhere asks each limit as if the mail came from a network that it counts, for an
	// operator who has not said from where it comes.
	Anywhere                   bool
	Sender                     mail.Identity
	SenderDomain               string
	Stream, Upstream, SourceIP string
	// Watched: the past of the client is known, so that strangers are such; before that
	// limits on strangers refuse nothing. NewSender: the sender is in its first two days.
	// Where the client names submitters, that is known behind the header.
	Watched, NewSender bool
	// Provider is what operators name; of a transaction each Recipient has its own.
	Provider string
}

// Filter chooses keys by what they count on; a blank field chooses all. A sender
// also finds the budgets of its domain, and those that its domain shares. Senders,
// users and domains may be spelled in any way.
type Filter struct {
	Limit           string        `json:"limit,omitempty"`
	Client          string        `json:"client,omitempty"`
	User            string        `json:"user,omitempty"`
	Submitter       string        `json:"submitter,omitempty"`
	ClientIP        string        `json:"client_ip,omitempty"`
	Sender          mail.Identity `json:"sender,omitempty"`
	SenderDomain    string        `json:"sender_domain,omitempty"`
	RecipientDomain string        `json:"recipient_domain,omitempty"`
	Stream          string        `json:"stream,omitempty"`
	Upstream        string        `json:"upstream,omitempty"`
	SourceIP        string        `json:"source_ip,omitempty"`
	Provider        string        `json:"provider,omitempty"`
}

// Of points to the field for d, which must be one of Dimensions.
func (f *Filter) Of(d Dimension) *string { return dimensions[d].filter(f) }

// Facts returns those of a transaction that has what f names; f.RecipientDomain is not
// among them.
func (f *Filter) Facts() (facts Facts) {
	for _, d := range Dimensions() {
		if fact := dimensions[d].fact; fact != nil {
			*fact(&facts) = *f.Of(d)
		}
	}
	return facts
}

// Recipient is one RCPT: Domain is its domain in lower-case A-labels, "" for the
// bare <postmaster>. Provider is the group of receivers that the domain is in; ""
// where the mail goes to a configured upstream, and where no limit asks for it, see
// Account.NeedsProvider.
type Recipient struct {
	Address  mail.RecipientID
	Domain   string
	Provider string
	// NewToClient: nobody of the client has written to it before; NewToSender: the
	// sender has not.
	NewToClient, NewToSender bool
}

// stranger reports whether it is one to somebody.
func (r *Recipient) stranger(to StrangersOf) bool {
	if to == OfSender {
		return r.NewToSender
	}
	return r.NewToClient
}

// place is what a key holds of a recipient; what it does not hold is blank, so that
// one place is one budget.
type place struct{ domain, provider string }

// place is that of a recipient for a rule.
func (r *rule) place(to *Recipient) (p place) {
	if r.perDomain {
		p.domain = cmp.Or(to.Domain, barePostmaster)
	}
	if r.perProvider {
		p.provider = to.Provider
	}
	return p
}

// Values that stand for a key where there is no name. None can be a name: "<"
// and ">" occur in no client, address or domain.
const (
	nullSender     = string(mail.NullSender)
	noClient       = "<none>"
	barePostmaster = "<postmaster>"
)

// value is what the mail has for d; "" means absent. Recipient domains are not
// looked up here.
func (f *Facts) value(d Dimension) string {
	row := &dimensions[d]
	switch {
	case d == PerAll:
		return row.name
	case row.fact == nil:
		return ""
	}
	return cmp.Or(*row.fact(f), row.none)
}

// appendPart appends "name=value", after a space unless it is the first of the
// key that began at start.
//
// A key is a list of such parts, in the order of the Dimensions, and "all"
// alone. It is unambiguous whatever a peer writes: a value with a space, a
// control octet, a quote or a backslash is written in quotes with those octets
// escaped, so a space always ends a part and the first "=" ends its name.
func appendPart(b []byte, start int, d Dimension, value string) []byte {
	if len(b) > start {
		b = append(b, ' ')
	}
	if d == PerAll {
		return append(b, "all"...)
	}
	b = append(b, dimensions[d].name...)
	b = append(b, '=')
	if d == PerClientIP {
		return appendClientIP(b, value)
	}
	return appendValue(b, value)
}

// maxValue is the longest value that a key holds as it is. No address is as
// long (RFC 5321 s. 4.5.3.1); what is, is told apart by its hash.
const maxValue = 512

func appendValue(b []byte, value string) []byte {
	if len(value) > maxValue {
		sum := sha256.Sum256([]byte(value))
		value = value[:maxValue/2] + "~" + hex.EncodeToString(sum[:])
	}
	if isPlain(value) {
		return append(b, value...)
	}
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c <= ' ' || c == 0x7f:
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func isPlain(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c == 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return value != ""
}

// appendClientIP writes an IPv4 address as it is and an IPv6 address as its
// /64, the least that one customer holds.
func appendClientIP(b []byte, text string) []byte {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return appendValue(b, text)
	}
	return appendNetwork(b, addr)
}

func appendNetwork(b []byte, addr netip.Addr) []byte {
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.AppendTo(b)
	}
	network, _ := addr.Prefix(64) // 64 is within an IPv6 address
	return network.AppendTo(b)
}

// part is one dimension of a parsed key.
type part struct {
	d     Dimension
	value string
}

// parseKey reads what appendPart wrote.
func parseKey(key string) (parts []part, ok bool) {
	if key == "all" {
		return []part{{PerAll, "all"}}, true
	}
	for text := range strings.SplitSeq(key, " ") {
		name, value, found := strings.Cut(text, "=")
		var d Dimension
		if !found || d.UnmarshalText([]byte(name)) != nil {
			return nil, false
		}
		if value, ok = parseValue(value); !ok {
			return nil, false
		}
		parts = append(parts, part{d, value})
	}
	return parts, true
}

func parseValue(text string) (string, bool) {
	if !strings.HasPrefix(text, `"`) {
		return text, isPlain(text)
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return "", false
	}
	text = text[1 : len(text)-1]
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		i++
		switch {
		case i < len(text) && (text[i] == '"' || text[i] == '\\'):
			b = append(b, text[i])
		case i+2 < len(text) && text[i] == 'x':
			high, low := strings.IndexByte("0123456789abcdef", text[i+1]), strings.IndexByte("0123456789abcdef", text[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b = append(b, byte(high<<4|low))
			i += 2
		default:
			return "", false
		}
	}
	return string(b), true
}
