package ratelimit

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// RuleConfig is a table [limit.NAME]: what it counts on, how much is allowed,
// and whom it concerns. A limit without a number, or without per, is an error:
// it would look like protection without being any.
type RuleConfig struct {
	// Per names what is counted on: "client", "user", "client_ip", "sender",
	// "sender_domain", "recipient_domain", "stream", "upstream", "source_ip",
	// "provider" (the group of receivers, with mx = true), "submitter" (as the client's
	// header tells; it answers behind the data) or "all"; a list counts per combination. No default. An IPv6 client_ip
	// counts as its /64. The null sender counts per client.
	Per Per `toml:"per"`
	// Absent says what counts when the mail has no such key (no SASL user,
	// say): "client" (default) counts on the client instead, "skip" not at all.
	Absent Absent `toml:"absent"`

	// Messages caps messages, such as "500/1h": at most 500 in any rolling hour.
	// Windows are whole seconds, "1s" to "31d"; several may be given. A message
	// counts once per key, with its first recipient that counts. Blank: no cap.
	Messages Numbers `toml:"messages"`
	// Recipients caps recipients, each RCPT counting 1. Blank: no cap.
	Recipients Numbers `toml:"recipients"`
	// Bytes caps octets as the client sent them, such as "1GiB/24h". Blank: no cap.
	Bytes Numbers `toml:"bytes"`
	// DistinctRecipients caps how many different addresses are written to;
	// exact up to 1024, with a standard error of 3 to 5 % above. Blank: no cap.
	DistinctRecipients Numbers `toml:"distinct_recipients"`

	// Strangers caps recipients to whom nobody of the client has ever written before,
	// such as "30/1h"; with StrangersOf = "sender" those to whom the sender has not. They
	// count as a limit NAME.strangers of their own, see package strangers. Blank: no cap.
	Strangers   Numbers     `toml:"strangers"`
	StrangersOf StrangersOf `toml:"strangers_of"` // "client" (default) or "sender"
	// StrangersNew caps the same for senders in their first two days, as
	// NAME.strangers_new. Blank: no cap.
	StrangersNew Numbers `toml:"strangers_new"`

	// Clients names the clients the limit concerns. Blank: all.
	Clients []string `toml:"clients"`
	// Streams names the streams it concerns. Blank: all.
	Streams []string `toml:"streams"`
	// Senders holds patterns of reverse-paths it concerns: an address,
	// "@example.org", "@*.example.org" (every subdomain), or "<>". Blank: all.
	Senders []string `toml:"senders"`
	// Networks are those from which mail counts, and NotNetworks those from which it does
	// not: by the address of the client's connection, and where the client tells its
	// submitters, by theirs as it tells it; then the limit answers behind the data. Mail
	// of which nobody knows from where it comes lies in no network. Blank: all, none.
	Networks    []netip.Prefix `toml:"networks"`
	NotNetworks []netip.Prefix `toml:"not_networks"`
	// RecipientsAt holds patterns of recipient domains that count:
	// "example.org", "*.example.org", or "internal" for internal_domains.
	// Blank: all.
	RecipientsAt []string `toml:"recipients_at"`
	// RecipientsNotAt holds patterns of recipient domains that do not count,
	// in the same form. Blank: none.
	RecipientsNotAt []string `toml:"recipients_not_at"`

	// Reserve keeps room for a stream: { transactional = "20%" } lets all other
	// streams together fill 80 % at most. Only where per is one of client,
	// upstream, source_ip, all (or a list of them). Blank: none.
	Reserve map[string]Percent `toml:"reserve"`

	// Mode is "enforce" (default) or "shadow": counted and reported as if it
	// were enforced, never refused.
	Mode Mode `toml:"mode"`
	// OnStoreFailure says what holds while Redis is away: "local" (default)
	// counts this node's share in process, "defer" answers 451, "admit" lets
	// pass. Without Redis it says what happens when the store's memory is full
	// of busy keys: "admit" lets pass, the others defer.
	OnStoreFailure OnFailure `toml:"on_store_failure"`

	// FoldTag counts news+anything@example.org as news@example.org.
	// Default false: they are two. Spellings of one address are one always, see
	// mail.Identity.
	FoldTag bool `toml:"fold_tag"`

	// Only leaves out recipients and mail that it does not name. Package strangers sets
	// it.
	Only Only `toml:"-"`

	// Reports: Account.Report charges the limit, too, for a message whose sender
	// it does not concern. It is set by null_sender_limit of a client.
	Reports bool `toml:"-"`

	// Overrides replaces numbers for the keys it names; the most specific one
	// holds. "news@example.org", "@example.org" and "@*.example.org" name
	// senders; a plain name names the client, user, stream, upstream, domain or
	// address that per counts on; "client=shop" says which, where per is a list.
	Overrides map[string]Override `toml:"overrides"`
}

// Override is one entry of [limit.NAME.overrides]. Each unit it gives replaces
// the whole list of that unit; the others keep the limit's numbers.
type Override struct {
	Messages           Numbers `toml:"messages"`            // as in the limit; blank: the limit's
	Recipients         Numbers `toml:"recipients"`          // as in the limit; blank: the limit's
	Bytes              Numbers `toml:"bytes"`               // as in the limit; blank: the limit's
	DistinctRecipients Numbers `toml:"distinct_recipients"` // as in the limit; blank: the limit's
	// Shared makes one budget of all senders that a domain override names.
	// Default false: each sender has the numbers to itself.
	Shared bool `toml:"shared"`
}

// SetDefaults fills in what a blank table means.
func (c *RuleConfig) SetDefaults() { c.StrangersOf = OfClient }

// SetDefaults fills in what a blank table means.
func (c *Override) SetDefaults() {}

// Check reports every problem of the table.
func (c *RuleConfig) Check(report func(key, problem string)) {
	if len(c.Per) == 0 {
		report("per", `is missing; say what is counted on, as "sender" or "client"`)
	}
	for i, d := range c.Per {
		if slices.Contains(c.Per[:i], d) {
			report("per", fmt.Sprintf("names %q twice; once is enough", d))
		}
		if d == PerAll && len(c.Per) > 1 {
			report("per", `joins "all" with others; "all" stands alone`)
		}
	}
	numbers := checkNumbers(c.units(), "", report) + checkNumbers(c.strangers(), "", report)
	for _, key := range slices.Sorted(maps.Keys(c.Overrides)) {
		o := c.Overrides[key]
		n := checkNumbers(o.units(), "overrides."+QuoteKey(key)+".", report)
		numbers += n
		if n == 0 {
			report("overrides."+QuoteKey(key), `has no number; give one, as messages = ["5000/1h"]`)
		}
	}
	if numbers == 0 {
		report("messages", `is missing, and so is every other number; give one, as messages = ["500/1h"]`)
	}
	c.checkReserve(report)
}

func (c *RuleConfig) checkReserve(report func(key, problem string)) {
	var sum Percent
	for _, share := range c.Reserve {
		sum += share
	}
	if sum > 100 {
		report("reserve", fmt.Sprintf("keeps %d%% in all; 100%% is the most", sum))
	}
	if len(c.Reserve) == 0 {
		return
	}
	for _, d := range c.Per {
		if d != PerClient && d != PerUpstream && d != PerSourceIP && d != PerAll {
			report("reserve", fmt.Sprintf("needs a limit that streams share; per = %q is not one", d))
		}
	}
	if len(c.DistinctRecipients) > 0 {
		report("reserve", "cannot divide distinct_recipients; put them into a limit of their own")
	}
}

// unitNumbers are the numbers of one unit under their key.
type unitNumbers struct {
	unit    Unit
	numbers Numbers
	key     string // in the file; "": that of the unit
}

func (c *RuleConfig) units() []unitNumbers {
	return []unitNumbers{
		{Messages, c.Messages, ""}, {Recipients, c.Recipients, ""},
		{Bytes, c.Bytes, ""}, {DistinctRecipients, c.DistinctRecipients, ""},
	}
}

func (c *RuleConfig) strangers() []unitNumbers {
	return []unitNumbers{{Recipients, c.Strangers, "strangers"}, {Recipients, c.StrangersNew, "strangers_new"}}
}

func (c *Override) units() []unitNumbers {
	return []unitNumbers{
		{Messages, c.Messages, ""}, {Recipients, c.Recipients, ""},
		{Bytes, c.Bytes, ""}, {DistinctRecipients, c.DistinctRecipients, ""},
	}
}

func checkNumbers(units []unitNumbers, prefix string, report func(key, problem string)) (count int) {
	for _, u := range units {
		for i, n := range u.numbers {
			key := prefix + cmp.Or(u.key, u.unit.String())
			if n.size && u.unit != Bytes {
				report(key, fmt.Sprintf("%q is a size; %s are plain numbers", n, u.unit))
			}
			same := func(m Number) bool { return m.Window == n.Window }
			if slices.ContainsFunc(u.numbers[:i], same) {
				report(key, fmt.Sprintf("has two numbers for one window of %s; keep the smaller", FormatWindow(n.Window)))
			}
			count++
		}
	}
	return count
}

// QuoteKey writes a TOML key for a text that people read: quoted unless it is a bare key.
func QuoteKey(key string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if key != "" && strings.TrimFunc(key, bare) == "" {
		return key
	}
	return strconv.Quote(key)
}
