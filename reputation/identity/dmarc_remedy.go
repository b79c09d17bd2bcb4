package identity

import (
	"fmt"
	"slices"
	"strings"
)

// noPolicy is the finding where no policy holds for a domain. record is the one
// that would hold if it could be read; nil when there is none.
func (w *walked) noPolicy(f *Finding, d DomainIdentity, record *policyRecord) {
	f.Rule = "RFC 9989 s. 4.7"
	switch {
	case record != nil:
		f.Status = Fail
		f.Seen = fmt.Sprintf("%s at _dmarc.%s, without a valid policy and without rua=", record.text, record.domain)
		if record.err != nil {
			f.Seen = fmt.Sprintf("%s at _dmarc.%s, which cannot be read: %v", record.text, record.domain, record.err)
		}
		f.Change = "mend the record"
		floor, above := w.floor(record.domain)
		if above != "" {
			f.Change += fmt.Sprintf(", or take it out: then that of %s holds, with p=%s", above, floor)
		}
		f.Record = mendDMARC(record.domain, floor, *record)
	case w.several != nil:
		f.Status = Fail
		w.tellSeveral(f)
	case w.spoilt != nil:
		f.Status = Fail
		w.tellSpoilt(f)
	default:
		f.Status, f.Seen, f.Rule = Warn, "no record", "RFC 9989 s. 5.1"
		f.Change = "publish a policy; start with p=none and read the reports"
		f.Record = mendDMARC(d.Name, "none")
	}
}

// passedOver is a finding of its own on records on the way that count as none,
// while one above them holds; ok is false when there are none. Receivers that go
// by RFC 7489 may then see no policy at all.
func (w *walked) passedOver(record *policyRecord, policy string) (f Finding, ok bool) {
	f = Finding{Check: "dmarc", Status: Warn, Rule: "RFC 9989 s. 4.10"}
	switch {
	case w.several != nil:
		f.Subject = "_dmarc." + w.several[0].domain
		w.tellSeveral(&f)
	case w.spoilt != nil:
		f.Subject = "_dmarc." + w.spoilt[0].domain
		w.tellSpoilt(&f)
	default:
		return f, false
	}
	f.Asked = "TXT " + f.Subject
	f.Seen += fmt.Sprintf("; that of %s holds, with p=%s", record.domain, policy)
	return f, true
}

func (w *walked) tellSeveral(f *Finding) {
	name := w.several[0].domain
	f.Seen = fmt.Sprintf("%d records at _dmarc.%s, which count as none", len(w.several), name)
	f.Change = "leave one record, such as this one"
	floor, _ := w.floor(name)
	f.Record = mendDMARC(name, floor, w.several...)
}

func (w *walked) tellSpoilt(f *Finding) {
	name := w.spoilt[0].domain
	f.Seen = fmt.Sprintf("%s at _dmarc.%s, which is not a record: v=DMARC1 must be its first tag", w.spoilt[0].text, name)
	f.Change = "mend the record"
	floor, _ := w.floor(name)
	f.Record = mendDMARC(name, floor, w.spoilt...)
}

// floor is the policy that holds for a domain without a record of its own, and
// whose it is: a remedy asks for no less.
func (w *walked) floor(domain string) (policy, above string) {
	rest := walked{}
	for _, r := range w.records {
		if r.domain != domain && strings.HasSuffix(domain, "."+r.domain) {
			rest.records = append(rest.records, r)
		}
	}
	if r, p := rest.policy(domain, false, false); p != "" {
		return p, r.domain
	}
	return "none", ""
}

// mendDMARC makes one record of those that were meant for a domain. All tags
// that can be read stay; no policy gets weaker, and p is at least floor.
func mendDMARC(domain, floor string, old ...policyRecord) string {
	tags := []string{"v=DMARC1", ""}
	policies := map[string]string{"p": floor}
	seen := map[string]bool{"v": true, "p": true}
	for _, r := range old {
		for part := range strings.SplitSeq(r.text, ";") {
			name, value, ok := strings.Cut(part, "=")
			name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
			if !ok || !isTagName(name) || name == "v" || value == "" || !isPlainText(value) {
				continue
			}
			if slices.Contains([]string{"p", "sp", "np"}, name) {
				policies[name] = stricter(policies[name], meant(value))
				continue
			}
			if !seen[name] {
				tags = append(tags, name+"="+value)
			}
			seen[name] = true
		}
	}
	tags[1] = "p=" + policies["p"]
	for _, name := range []string{"np", "sp"} {
		if v := policies[name]; v != "" {
			tags = slices.Insert(tags, 2, name+"="+v)
		}
	}
	if !seen["rua"] && policies["p"] == "none" {
		tags = append(tags, "rua=mailto:postmaster@"+domain)
	}
	return txtRecord("_dmarc."+domain, strings.Join(tags, "; "))
}

func stricter(a, b string) string {
	if strictness(b) > strictness(a) {
		return b
	}
	return a
}

// meant is the policy that a value was meant to be; "" when it cannot be told.
func meant(value string) string {
	switch v := strings.ToLower(value); {
	case v[0] == 'r':
		return "reject"
	case v[0] == 'q':
		return "quarantine"
	case v == "none":
		return "none"
	}
	return ""
}

// isPlainText reports whether s is printable ASCII, as values of tags are.
func isPlainText(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
