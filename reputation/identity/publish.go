package identity

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// publishable returns the record of a finding, "" when a line of it is not what
// it should be: a zone does not take it, or a receiver would not read it. What
// is offered to an operator is checked against the same rules as what stands in
// DNS.
func (p *Preflight) publishable(f *Finding) string {
	for line := range strings.SplitSeq(f.Record, "\n") {
		if line != "" && !IsPublishable(line, p.id.Keys...) {
			return ""
		}
	}
	return f.Record
}

// IsPublishable reports whether a line of a zone file is taken by a zone and, if
// it is an SPF, DKIM or DMARC record, read by receivers: SPF by its grammar, DMARC
// with a policy, DKIM as one of keys.
func IsPublishable(line string, keys ...KeyIdentity) bool {
	rr, err := dns.NewRR(line)
	if err != nil || rr == nil {
		return false
	}
	if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
		return false
	}
	if rr.Header().Rrtype != dns.TypeTXT {
		return true
	}
	name, text := strings.TrimSuffix(rr.Header().Name, "."), resolve.Texts([]dns.RR{rr})[0]
	if domain, ok := strings.CutPrefix(name, "_dmarc."); ok {
		records := dmarcRecords(domain, []string{text})
		return len(records) == 1 && records[0].err == nil && isPolicy(records[0].tags["p"])
	}
	if strings.Contains(name, "._domainkey.") {
		i := slices.IndexFunc(keys, func(k KeyIdentity) bool { return sameName(keyName(k), name) })
		f := Finding{Status: Pass}
		return i >= 0 && judgeRecord(&f, keys[i], text) == KeyPublished && f.Status != Fail
	}
	_, bad := parseSPF(text)
	return len(bad) == 0
}

// inPlaceOf says where a record goes whose name is a CNAME today: none may stand
// beside it (RFC 1034 s. 3.6.2).
func inPlaceOf(record string, a resolve.Answer) string {
	if record == "" || len(a.Aliases) == 0 {
		return ""
	}
	return "; the name is a CNAME to " + resolve.Printable(a.Name) + ": put the record there, or replace the CNAME by this record and the others that the name needs"
}

// txtRecord is a TXT record in zone-file form, its value in strings of at most
// 255 octets (RFC 1035 s. 3.3.14).
func txtRecord(name, value string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(name, "."))
	b.WriteString(". IN TXT")
	for value != "" {
		n := min(len(value), 255)
		b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value[:n]) + `"`)
		value = value[n:]
	}
	return b.String()
}
