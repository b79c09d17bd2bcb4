package identity

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"postern/internal/text"
)

// Status is how one check ended.
type Status string

// Statuses. A fault of DNS is always Unknown.
const (
	Pass    Status = "pass"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Finding is what one check has found about one subject.
type Finding struct {
	Check   string `json:"check"`            // ptr, ehlo, spf, dkim, dmarc, mx, upstream, certificate, address, resolver
	Status  Status `json:"status"`           //
	Subject string `json:"subject"`          // address, domain or host that it is about
	Stream  string `json:"stream,omitempty"` // where it holds for one only
	Asked   string `json:"asked"`            // of DNS or of a server
	Seen    string `json:"seen"`             // in the answer
	Change  string `json:"change,omitempty"` // what to do; blank when it passed
	Record  string `json:"record,omitempty"` // to publish, in zone-file form
	Rule    string `json:"rfc,omitempty"`    // section of the RFC that asks for it
	// Result is the word of SPF (pass, softfail, fail, none ...) or of DMARC's
	// policy, Mechanism what decided SPF.
	Result    string `json:"result,omitempty"`
	Mechanism string `json:"mechanism,omitempty"`

	last Status // before it became unknown
}

// Key is the same for a finding in every run, and different for all findings of one run.
func (f *Finding) Key() string { return f.Check + " " + f.Subject + " " + f.Stream }

// Summary counts findings by status.
type Summary struct {
	Pass    int `json:"pass"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// Summarize counts findings.
func Summarize(fs []Finding) (s Summary) {
	for i := range fs {
		switch fs[i].Status {
		case Pass:
			s.Pass++
		case Warn:
			s.Warn++
		case Fail:
			s.Fail++
		default:
			s.Unknown++
		}
	}
	return s
}

// ExitStatus is 1 when a check failed, 3 when none did and some could not be
// carried out, else 0.
func (s Summary) ExitStatus() int {
	switch {
	case s.Fail > 0:
		return 1
	case s.Unknown > 0:
		return 3
	}
	return 0
}

// String is such as "0 fail, 1 unknown, 2 warn, 30 pass".
func (s Summary) String() string {
	return fmt.Sprintf("%d fail, %d unknown, %d warn, %d pass", s.Fail, s.Unknown, s.Warn, s.Pass)
}

var rank = map[Status]int{Fail: 0, Unknown: 1, Warn: 2, Pass: 3}

// sortFindings puts the worst first, and else keeps check and subject together.
func sortFindings(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Status], rank[b.Status]), cmp.Compare(a.Check, b.Check),
			cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Stream, b.Stream))
	})
}

// WriteTable writes findings for people: a line each, and below what did not
// pass what to change.
func WriteTable(w io.Writer, fs []Finding) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "status\tcheck\tsubject\tstream\tseen\n")
	for i := range fs {
		f := &fs[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Status, f.Check, f.Subject, cmp.Or(f.Stream, "-"), text.Clip(f.Seen, 90))
	}
	t.Flush()
	for i := range fs {
		if f := &fs[i]; f.Status != Pass {
			f.explain(w)
		}
	}
	fmt.Fprintf(w, "\n%s\n", Summarize(fs))
}

func (f *Finding) explain(w io.Writer) {
	fmt.Fprintf(w, "\n%s %s %s", f.Status, f.Check, f.Subject)
	if f.Stream != "" {
		fmt.Fprintf(w, " (stream %s)", f.Stream)
	}
	fmt.Fprintf(w, "\n  asked:  %s\n  seen:   %s\n", f.Asked, f.Seen)
	if f.Mechanism != "" {
		fmt.Fprintf(w, "  by:     %s\n", f.Mechanism)
	}
	if f.Change != "" {
		fmt.Fprintf(w, "  change: %s\n", f.Change)
	}
	for line := range strings.SplitSeq(f.Record, "\n") {
		if line != "" {
			fmt.Fprintf(w, "  record: %s\n", line)
		}
	}
	if f.Rule != "" {
		fmt.Fprintf(w, "  see:    %s\n", f.Rule)
	}
}

// Changes returns the findings that differ in status from those of the run
// before. What passes for the first time, and what becomes or was unknown for a
// while, is not news; an end that stays the same across an unknown one neither.
func Changes(before, now []Finding) (news []Finding) {
	old := make(map[string]Status, len(before))
	for i := range before {
		old[before[i].Key()] = before[i].lasting()
	}
	for i := range now {
		f := &now[i]
		was := old[f.Key()]
		switch {
		case f.Status == Unknown:
			f.last = was
		case f.Status == was, was == "" && f.Status == Pass:
		default:
			news = append(news, *f)
		}
	}
	return news
}

// lasting is the status, or the one before it became unknown.
func (f *Finding) lasting() Status {
	if f.Status == Unknown {
		return f.last
	}
	return f.Status
}
