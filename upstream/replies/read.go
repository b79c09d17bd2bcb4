package replies

import (
	"strings"

	"postern/upstream/replies/vote"
)

// Read returns a reply in the form that the model weighs.
func Read(stage, reply string) *vote.Reply {
	t := readReply(reply, builtIn().lists)
	return t.forVote(stage)
}

func (t *replyText) forVote(stage string) *vote.Reply {
	return &vote.Reply{Stage: stage, Code: t.codeText, Status: t.status, Text: t.text, Marks: t.marks}
}

// Marks that a reply gets for the lists which it names by their host.
const (
	zoneOfAddresses = "zone-of-addresses"
	zoneOfDomains   = "zone-of-domains"
	linkOfAddress   = "link-of-address"
)

// zoneMark says what a list named by its host holds: addresses or domains. ""
// where host is none.
func zoneMark(host, list string) string {
	switch {
	case strings.Contains(host, "dbl.") || strings.Contains(host, "rhsbl") || strings.Contains(host, "surbl") || strings.Contains(host, "uribl"):
		return zoneOfDomains
	case list != "" || strings.Contains(host, "dnsbl") || strings.HasPrefix(host, "bl.") || strings.Contains(host, ".bl.") || strings.Contains(host, "rbl") || strings.HasPrefix(host, "zen."):
		return zoneOfAddresses
	}
	return ""
}

// linkMark says what a link to the page of a list asks for.
func linkMark(link string) string {
	low := strings.ToLower(link)
	switch {
	case strings.Contains(low, "/domain") || strings.Contains(low, "/dbl"):
		return "link-of-domain"
	case strings.Contains(low, "/ip/") || strings.Contains(low, "ip="):
		return linkOfAddress
	}
	return ""
}
