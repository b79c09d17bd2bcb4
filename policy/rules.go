package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/mail"
	"postern/policy/submitter"
)

// Config is what Compile makes rules of.
type Config struct {
	Clients map[string]ClientConfig // tables [client.NAME]
	Streams map[string]StreamConfig // tables [stream.NAME]
	// InternalDomains are "example.org" or "*.example.org"; mail to them is
	// inside: automatic replies to it pass.
	InternalDomains []string
}

// Rules is a compiled rule set. It never changes and may be used by many
// goroutines at once.
type Rules struct {
	clients  []*Client // by name
	internal patterns
	index    index
}

// Client is one configured client. It never changes.
type Client struct {
	name   string
	cfg    ClientConfig // networks masked and unmapped, users as mail.User, names of certificates in lower case
	stream *stream

	attachments AttachmentConfig // with those of its stream

	networks     byNetwork[struct{}]
	certificates map[string]bool

	submitter *submitter.Reader // nil: nothing is told of submitters

	senders, refuse, allow patterns
	selves                 selves
	user                   string // in whose name it acts now, where selves is not empty
}

type stream struct {
	name          string
	refuse, allow patterns
	unsubscribe   Unsubscribe
	attachments   AttachmentConfig
}

// Name is that of the table [client.NAME].
func (c *Client) Name() string { return c.name }

// Stream is the name of the stream by which the client's mail leaves.
func (c *Client) Stream() string { return c.stream.name }

// HideClient says that Received must not tell the client's address.
func (c *Client) HideClient() bool { return c.cfg.HideClient }

// KeepBcc says that Bcc and Resent-Bcc leave as they came.
func (c *Client) KeepBcc() bool { return c.cfg.KeepBcc }

// RefusesLongLines says that a message with lines over 998 octets is refused.
func (c *Client) RefusesLongLines() bool { return c.cfg.LongLines == RefuseLong }

// Submitter reads which of the client's own users has submitted a message; nil where
// it does not tell.
func (c *Client) Submitter() *submitter.Reader { return c.submitter }

// NamesSubmitters says that the client tells which of its own users submitted a message,
// not only from where.
func (c *Client) NamesSubmitters() bool { return c.cfg.Names() }

// Attachments says what the client's table and that of its stream together refuse to find
// in a message; false where they refuse nothing.
func (c *Client) Attachments() (AttachmentConfig, bool) { return c.attachments, c.attachments.looks() }

// AddressLiterals says that recipients may be at address literals (RFC 5321 s. 4.1.3).
func (c *Client) AddressLiterals() bool { return c.cfg.AddressLiterals }

// Clients returns all clients by name.
func (r *Rules) Clients() []*Client { return slices.Clone(r.clients) }

// Compile makes rules of cfg. parse reads "local@domain" (syntax.Mailbox with
// UTF-8 allowed); it is given so that policy needs no IDNA. Every problem and
// every warning is reported with the path of its key ("client.shop.networks.0")
// and a text "problem; fix". With any problem the result is nil.
func Compile(cfg Config, parse func(string) (mail.Address, error), problem, warn func(path, text string)) *Rules {
	b := builder{cfg: cfg, parse: parse, warn: warn, streams: map[string]*stream{}}
	b.problem = func(path, text string) {
		b.failed = true
		problem(path, text)
	}
	r := &Rules{}
	for i, d := range cfg.InternalDomains {
		if r.internal.add("@"+d, parse) != "" {
			b.problem(at("internal_domains", i), fmt.Sprintf(`%q is not a domain; write one such as "example.org" or "*.example.org"`, d))
		}
	}
	for _, name := range sorted(cfg.Streams) {
		b.stream(name, cfg.Streams[name])
	}
	for _, name := range sorted(cfg.Clients) {
		r.clients = append(r.clients, b.client(name, cfg.Clients[name]))
	}
	b.openRelay(r.clients)
	b.ties(r.clients)
	if b.failed {
		return nil
	}
	r.index = newIndex(r.clients)
	return r
}

type builder struct {
	cfg           Config
	parse         func(string) (mail.Address, error)
	problem, warn func(path, text string)
	failed        bool
	streams       map[string]*stream
}

func (b *builder) stream(name string, cfg StreamConfig) {
	path := join("stream", name)
	b.streams[name] = &stream{
		name:        name,
		refuse:      b.patterns(path+".refuse_recipients", cfg.RefuseRecipients),
		allow:       b.patterns(path+".allow_recipients", cfg.AllowRecipients),
		unsubscribe: cfg.RequireListUnsubscribe,
		attachments: cfg.AttachmentConfig,
	}
}

func (b *builder) client(name string, cfg ClientConfig) *Client {
	path := join("client", name)
	c := &Client{
		name:   name,
		cfg:    cfg,
		refuse: b.patterns(path+".refuse_recipients", cfg.RefuseRecipients),
		allow:  b.patterns(path+".allow_recipients", cfg.AllowRecipients),
	}
	b.senderPatterns(path+".senders", c)
	c.stream = b.streams[cfg.Stream]
	switch {
	case cfg.Stream == "":
		b.problem(path+".stream", "missing; name the table [stream.NAME] by which its mail leaves")
	case c.stream == nil:
		b.problem(path+".stream", fmt.Sprintf("there is no [stream.%s]; write that table or correct the name", cfg.Stream))
	default:
		c.attachments = cfg.AttachmentConfig.and(c.stream.attachments)
	}
	b.conditions(path, c)
	b.senders(path, c)
	b.forwards(path+".forwards", cfg.Forwards)
	cfg.SubmitterConfig.Check(name, func(key, problem string) { b.problem(path+"."+key, problem) })
	c.submitter = submitter.New(name, cfg.SubmitterConfig, b.parse)
	if cfg.NullSender == LimitNull && len(cfg.NullSenderLimit) == 0 {
		b.problem(path+".null_sender_limit", `blank, so null_sender = "limit" has no limit; write a list such as ["20/1h"]`)
	}
	return c
}

func (b *builder) patterns(path string, written []string) (p patterns) {
	for i, s := range written {
		if problem := p.add(s, b.parse); problem != "" {
			b.problem(at(path, i), fmt.Sprintf("%q %s", s, problem))
		}
	}
	return p
}

// senders warns of what an operator hardly means.
func (b *builder) senders(path string, c *Client) {
	if len(c.cfg.Senders) == 0 {
		b.warn(path+".senders", `blank, so this client can send nothing; write what it owns, as ["@example.org"]`)
	}
	for i, s := range c.cfg.Senders {
		if parent, ok := strings.CutPrefix(s, "@*."); ok && !strings.Contains(parent, ".") {
			b.warn(at(path+".senders", i), fmt.Sprintf("%q owns every domain below %q; name the domains", s, parent))
		}
	}
}

// conditions cleans the conditions of c in a copy of its settings.
func (b *builder) conditions(path string, c *Client) {
	cfg := &c.cfg
	if len(cfg.Networks)+len(cfg.Users)+len(cfg.Certificates) == 0 {
		b.problem(path, "has no condition, so everybody would be this client; write networks, users or certificates")
	}
	cfg.Networks = slices.Clone(cfg.Networks)
	for i, n := range cfg.Networks {
		cfg.Networks[i] = b.network(at(path+".networks", i), n)
		c.networks.change(cfg.Networks[i], func(struct{}) struct{} { return struct{}{} })
	}
	b.notBlank(path+".users", cfg.Users)
	cfg.Users = slices.Clone(cfg.Users)
	for i, name := range cfg.Users {
		cfg.Users[i] = mail.User(name, b.parse)
	}
	if len(cfg.Users) > 1 && slices.Contains(cfg.Users, AnyUser) {
		b.problem(path+".users", `holds "*", which is every user, beside others; write ["*"] alone`)
	}
	b.notBlank(path+".listeners", cfg.Listeners)
	b.notBlank(path+".certificates", cfg.Certificates)
	cfg.Certificates = slices.Clone(cfg.Certificates)
	for i, name := range cfg.Certificates {
		if strings.Contains(name, "*") {
			b.problem(at(path+".certificates", i), fmt.Sprintf("%q is a pattern; write each name in full", name))
		}
		cfg.Certificates[i] = mail.LowerASCII(name)
		c.certificates = put(c.certificates, mail.LowerASCII(name))
	}
}

func (b *builder) notBlank(path string, names []string) {
	for i, name := range names {
		if strings.TrimSpace(name) == "" {
			b.problem(at(path, i), "is blank; write a name or remove it")
		}
	}
}

// network returns n as addresses are looked up: IPv4 in its own form.
func (b *builder) network(path string, n netip.Prefix) netip.Prefix {
	switch {
	case !n.IsValid():
		b.problem(path, `is not a network; write one such as "192.0.2.0/24"`)
		return n
	case n != n.Masked():
		b.problem(path, fmt.Sprintf("%s has bits set beyond its length; write %s, or %s for the one address", n, n.Masked(), n.Addr()))
		return n
	case n.Addr().Is4In6() && n.Bits() >= 96:
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}

// join appends one name to a key path, quoted where TOML would ask for it.
func join(path, name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !bare(r) }) {
		name = strconv.Quote(name)
	}
	return path + "." + name
}

func at(path string, i int) string { return path + "." + strconv.Itoa(i) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
