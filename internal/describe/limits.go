package describe

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/policy"
	"postern/ratelimit"
)

// limitWords has a line for each limit that concerns a client, and for each
// override of its numbers.
func (x *explainer) limitWords(client string, c policy.ClientConfig) []string {
	var all []string
	for _, name := range x.byClient.Of(client) {
		l := x.limits[name]
		if len(l.Streams) > 0 && !slices.Contains(l.Streams, c.Stream) {
			continue
		}
		all = append(all, name+": "+oneLimit(l, c, len(x.file.Stream[c.Stream].SourceIP) > 0))
		for _, key := range sorted(l.Overrides) {
			all = append(all, "  "+overrideWords(key, l.Overrides[key], l))
		}
	}
	return all
}

func oneLimit(l ratelimit.RuleConfig, c policy.ClientConfig, sourceIP bool) string {
	parts := []string{cmp.Or(numberWords(l.Messages, l.Recipients, l.Bytes, l.DistinctRecipients), "as its overrides say") + " " + perWords(l.Per)}
	if l.Only.Strangers != "" {
		parts = append(parts, fmt.Sprintf("only recipients to whom the %s has never written before, refusing none in the client's first 14 days here or in the journal", l.Only.Strangers))
	}
	if l.Only.NewSenders {
		parts = append(parts, "senders in their first two days only")
	}
	if l.Reports {
		parts = append(parts, "mail from <>, and reports and receipts from others")
	} else if len(l.Senders) > 0 {
		parts = append(parts, "mail from "+strings.Join(l.Senders, ", ")+" only")
	}
	if len(l.Networks) > 0 {
		parts = append(parts, "mail from "+prefixes(l.Networks)+" only"+whose(c))
	}
	if len(l.NotNetworks) > 0 {
		parts = append(parts, "mail from "+prefixes(l.NotNetworks)+" not counted"+whose(c))
	}
	if len(l.RecipientsAt) > 0 {
		parts = append(parts, "recipients at "+strings.Join(l.RecipientsAt, ", ")+" only")
	}
	if len(l.RecipientsNotAt) > 0 {
		parts = append(parts, "recipients at "+strings.Join(l.RecipientsNotAt, ", ")+" not counted")
	}
	for _, stream := range sorted(l.Reserve) {
		parts = append(parts, fmt.Sprintf("%d%% kept for stream %s", l.Reserve[stream], stream))
	}
	parts = append(parts, absentWords(l, c, sourceIP)...)
	if l.FoldTag {
		parts = append(parts, "tags (+x) folded")
	}
	if l.Mode == ratelimit.Shadow {
		parts = append(parts, "shadow: counts, never refuses")
	}
	switch l.OnStoreFailure {
	case ratelimit.FailDefer:
		parts = append(parts, "mail waits while the store is away")
	case ratelimit.FailAdmit:
		parts = append(parts, "mail passes uncounted while the store is away")
	}
	return strings.Join(parts, "; ")
}

func prefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

// whose says that networks are those of submitters.
func whose(c policy.ClientConfig) string {
	if c.Tells() {
		return ", by the submitter's address, behind the data"
	}
	return ""
}

// absentWords says what becomes of the mail of this client when it has no such
// key.
func absentWords(l ratelimit.RuleConfig, c policy.ClientConfig, sourceIP bool) []string {
	missing := ""
	switch {
	case slices.Contains(l.Per, ratelimit.PerUser) && len(c.Users) == 0:
		missing = "this client has no SASL user"
	case slices.Contains(l.Per, ratelimit.PerSubmitter) && !c.Names():
		missing = "this client tells no submitters"
	case slices.Contains(l.Per, ratelimit.PerSourceIP) && !sourceIP:
		missing = "its stream has no source_ip"
	default:
		return nil
	}
	if l.Absent == ratelimit.AbsentSkip {
		return []string{missing + ", so it does not count"}
	}
	return []string{missing + ", so it counts as a whole"}
}

func overrideWords(key string, o ratelimit.Override, l ratelimit.RuleConfig) string {
	text := key + ": " + numberWords(o.Messages, o.Recipients, o.Bytes, o.DistinctRecipients)
	if !slices.Contains(l.Per, ratelimit.PerSender) || !strings.HasPrefix(key, "@") {
		return text
	}
	if o.Shared {
		return text + " for all its senders together"
	}
	return text + " for each of its senders"
}

func numberWords(messages, recipients, bytes, distinct ratelimit.Numbers) string {
	var all []string
	add := func(unit string, numbers ratelimit.Numbers) {
		for _, n := range numbers {
			count, window, _ := strings.Cut(n.String(), "/")
			text := count + " " + unit + " in " + window
			if n.N == 0 {
				text = "no " + unit + " at all (" + n.String() + ")"
			}
			all = append(all, text)
		}
	}
	add("messages", messages)
	add("recipients", recipients)
	add("of message text", bytes)
	add("different recipients", distinct)
	return strings.Join(all, ", ")
}

func perWords(per ratelimit.Per) string {
	if slices.Contains(per, ratelimit.PerAll) {
		return "for all mail together"
	}
	return "for each " + per.String()
}
