package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// policyRecord is a DMARC record where it was found (RFC 9989 s. 4.7).
type policyRecord struct {
	domain string
	text   string
	tags   map[string]string
	err    error // why the tags cannot be read; those of tags are then only v
}

// walked is the end of a tree walk.
type walked struct {
	records []policyRecord // from the domain itself towards the root
	// several are those of the first name with more than one, which count as none.
	several []policyRecord
	// spoilt are texts that were meant as records and are none, as their first tag
	// is not v=DMARC1; those of the first name that has no record.
	spoilt []policyRecord
	failed *resolve.Answer // the question that DNS did not answer
}

// maxWalk is how many names a walk asks for (RFC 9989 s. 4.10).
const maxWalk = 8

// walk asks for the records of a domain and of those above it (RFC 9989
// s. 4.10).
func walk(ctx context.Context, r *resolve.Resolver, domain string) (w walked) {
	labels := strings.Split(domain, ".")
	for n := 0; n < maxWalk && len(labels) > 0; n++ {
		name := strings.Join(labels, ".")
		a := r.Ask(ctx, "_dmarc."+name, dns.TypeTXT)
		if a.State == resolve.Fault {
			w.failed = &a
			return w
		}
		switch records := dmarcRecords(name, resolve.Texts(a.RRs)); {
		case len(records) > 1:
			if w.several == nil {
				w.several = records
			}
		case len(records) == 0:
			if w.spoilt == nil {
				w.spoilt = spoiltRecords(name, resolve.Texts(a.RRs))
			}
		case len(records) == 1:
			w.records = append(w.records, records[0])
			if psd := records[0].tags["psd"]; psd == "n" || psd == "y" {
				return w
			}
		}
		if len(labels) > maxWalk {
			labels = labels[len(labels)-(maxWalk-1):]
		} else {
			labels = labels[1:]
		}
	}
	return w
}

func dmarcRecords(domain string, texts []string) []policyRecord {
	var rs []policyRecord
	for _, t := range texts {
		first, _, _ := strings.Cut(t, ";")
		if !isDMARCVersion(first) {
			continue
		}
		tags, err := parseTags(t)
		if err != nil {
			tags = map[string]string{"v": "DMARC1"}
		}
		rs = append(rs, policyRecord{domain, t, tags, err})
	}
	return rs
}

// isDMARCVersion reports whether a tag is v=DMARC1; only the name of a tag goes
// without regard to case, and blanks may stand around "=" (RFC 9989 s. 4.7).
func isDMARCVersion(tag string) bool {
	name, value, ok := strings.Cut(tag, "=")
	return ok && strings.EqualFold(strings.TrimSpace(name), "v") && strings.TrimSpace(value) == "DMARC1"
}

// spoiltRecords picks the texts that were meant as DMARC records.
func spoiltRecords(domain string, texts []string) (rs []policyRecord) {
	for _, t := range texts {
		if strings.Contains(strings.ToLower(stripSpace(t)), "v=dmarc1") {
			rs = append(rs, policyRecord{domain: domain, text: t})
		}
	}
	return rs
}

// organizational is the domain that stands for the whole organization (RFC 9989
// s. 4.10.2).
func (w *walked) organizational(domain string) string {
	for _, r := range w.records {
		switch {
		case r.tags["psd"] == "n":
			return r.domain
		case r.tags["psd"] == "y" && r.domain != domain:
			return oneBelow(r.domain, domain)
		}
	}
	if len(w.records) == 0 {
		return domain
	}
	return w.records[len(w.records)-1].domain
}

// oneBelow is the name one label longer than above on the way to domain.
func oneBelow(above, domain string) string {
	rest := strings.TrimSuffix(domain, "."+above)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + above
}

// policy is the record that holds for a domain (RFC 9989 s. 4.10.1), and what it
// asks for. below: it is asked for a domain below that one; missing: the domain
// does not exist.
func (w *walked) policy(domain string, below, missing bool) (r *policyRecord, p string) {
	for i := range w.records {
		if c := &w.records[i]; !below && c.domain == domain {
			return c, c.request("p")
		}
	}
	tags := []string{"sp", "p"}
	if missing {
		tags = []string{"np", "sp", "p"}
	}
	org := w.organizational(domain)
	for i := range w.records {
		if c := &w.records[i]; c.domain == org || c.tags["psd"] == "y" {
			return c, c.request(tags...)
		}
	}
	return nil, ""
}

// request is what the first of the tags that is there asks for. Where that is
// no policy, or all are missing, it is p=none if reports are asked for, else ""
// (RFC 9989 s. 4.7).
func (r *policyRecord) request(tags ...string) string {
	for _, t := range tags {
		v, ok := r.tags[t]
		if isPolicy(v) {
			return strings.ToLower(v)
		}
		if ok {
			break
		}
	}
	if strings.Contains(strings.ToLower(r.tags["rua"]), "mailto:") {
		return "none"
	}
	return ""
}

func isPolicy(v string) bool { return strictness(v) >= 0 }

// strictness orders policies; -1 for what is none.
func strictness(policy string) int {
	return slices.Index([]string{"none", "quarantine", "reject"}, strings.ToLower(policy))
}

// alignment is whether one of SPF and DKIM would pass and be aligned.
type alignment int

const (
	notChecked alignment = iota
	unsure               // DNS did not answer
	fails
	passes
)

// dmarc checks the policy of a sender domain, and that our mail would pass it.
func (p *Preflight) dmarc(ctx context.Context, d DomainIdentity) {
	name := d.Name
	if d.Below {
		name = "*." + name
	}
	f := Finding{Check: "dmarc", Status: Pass, Subject: name, Asked: "TXT _dmarc." + d.Name + " and above", Rule: "RFC 9989 s. 4.10"}
	w := walk(ctx, p.resolver, d.Name)
	if w.failed != nil {
		p.add(unknown("dmarc", name, "", "TXT "+strings.TrimSuffix(w.failed.Name, "."), *w.failed))
		return
	}
	missing := !d.Below && p.resolver.Ask(ctx, d.Name, dns.TypeMX).State == resolve.NoName
	record, policy := w.policy(d.Name, d.Below, missing)
	if record == nil || policy == "" {
		w.noPolicy(&f, d, record)
	} else {
		f.Result = policy
		f.Seen = fmt.Sprintf("%s at _dmarc.%s", record.text, record.domain)
		dkim := p.dkimAligned(ctx, d, &w, record)
		p.judgeDMARC(&f, d, policy, dkim, p.spfAligned(d))
		if over, ok := w.passedOver(record, policy); ok && p.tellOnce(over.Key()) {
			p.addDMARC(ctx, over)
		}
	}
	p.addDMARC(ctx, f)
}

// addDMARC adds a finding with a remark on a CNAME where its record would stand.
func (p *Preflight) addDMARC(ctx context.Context, f Finding) {
	if f.Record != "" {
		f.Change += inPlaceOf(f.Record, p.resolver.Ask(ctx, strings.Fields(f.Record)[0], dns.TypeTXT))
	}
	p.add(f)
}

// dkimAligned says whether a signature of ours would verify and be aligned (RFC
// 9989 s. 4.4.1).
func (p *Preflight) dkimAligned(ctx context.Context, d DomainIdentity, w *walked, record *policyRecord) alignment {
	if d.SignedBy == "" {
		return fails
	}
	if same := d.SignedBy == d.Name && !d.Below; !same {
		if strings.EqualFold(record.tags["adkim"], "s") {
			return fails
		}
		signer := walk(ctx, p.resolver, d.SignedBy)
		if signer.failed != nil {
			return unsure
		}
		if signer.organizational(d.SignedBy) != w.organizational(d.Name) {
			return fails
		}
	}
	end := fails
	for _, k := range p.id.Keys {
		if k.Domain != d.SignedBy {
			continue
		}
		switch p.keys[k.Domain+"/"+k.Selector] {
		case KeyPublished:
			return passes
		case KeyUnknown:
			end = unsure
		}
	}
	return end
}

// spfAligned says whether SPF would pass for the domain in reverse-path and
// header From alike, from all addresses.
func (p *Preflight) spfAligned(d DomainIdentity) alignment {
	end := notChecked
	if d.Below {
		return end
	}
	for _, ip := range p.addressesOf(d) {
		f := p.spf[d.Name+" "+ip.String()]
		switch {
		case f.Status == Unknown || f.Result == "":
			if end != fails {
				end = unsure
			}
		case f.Result == string(spf.Pass):
			if end == notChecked {
				end = passes
			}
		default:
			end = fails
		}
	}
	return end
}

func (p *Preflight) judgeDMARC(f *Finding, d DomainIdentity, policy string, dkim, spf alignment) {
	words := [...]string{"not checked", "unknown", "would not pass", "would pass"}
	f.Seen += fmt.Sprintf("; DKIM by %s %s, SPF %s", orNone(d.SignedBy), words[dkim], words[spf])
	switch {
	case dkim == passes:
	case spf == passes && dkim == unsure:
	case spf == passes:
		f.Status = Warn
		f.Change = p.dkimAdvice(d) + "; SPF alone does not survive forwarding"
		f.Rule = "RFC 9989 s. 4.4.1"
	case dkim == unsure || spf == unsure:
		f.Status = Unknown
		f.Change = "nothing yet: ask again"
	case policy == "none":
		f.Status = Warn
		f.Change = p.dkimAdvice(d) + " before the policy becomes stricter"
		f.Rule = "RFC 9989 s. 4.4"
	default:
		f.Status = Fail
		f.Change = p.dkimAdvice(d) + fmt.Sprintf(": receivers are asked to %s this mail", policy)
		f.Rule = "RFC 9989 s. 4.4"
	}
}

func (p *Preflight) dkimAdvice(d DomainIdentity) string {
	switch {
	case d.SignedBy == "":
		return fmt.Sprintf("make a key and a table [dkim.%q]", d.Name)
	case d.SignedBy == d.Name || !slices.ContainsFunc(p.id.Keys, func(k KeyIdentity) bool {
		return k.Domain == d.SignedBy && p.keys[k.Domain+"/"+k.Selector] == KeyPublished
	}):
		return "publish the DKIM key of " + d.SignedBy
	}
	return fmt.Sprintf("give %s a table [dkim] of its own: the signature of %s is not aligned", d.Name, d.SignedBy)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
