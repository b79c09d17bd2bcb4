package control

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/node"
	"postern/internal/phrase"
	"postern/mail"
	"postern/reputation"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

const listingsUsage = `usage: relay listings [-json] [-config FILE]
       relay listings show [-json] [-config FILE] ID
       relay listings zones [-json] [-config FILE]
       relay listings resume [-config FILE] STREAM
       relay listings findings [-json] [-config FILE]
       relay listings suspects [-at TIME] [-stream S] [-look-back 24h] [-n 10] [-json] [-config FILE | -journal FILE [FILE...]]
`

func Listings(io cli.IO, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "show":
			return runListing(io, args[1:])
		case "list":
			return runListingList(io, args[1:])
		case "zones":
			return runZones(io, args[1:])
		case "resume":
			return runResume(io, args[1:])
		case "findings":
			return runFindings(io, args[1:])
		case "suspects":
			return runSuspects(io, args[1:])
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.Out, listingsUsage)
			return cli.OK
		}
		if !strings.HasPrefix(args[0], "-") {
			fmt.Fprintf(io.Err, "relay listings: unknown command %q\n%s", args[0], listingsUsage)
			return cli.Usage
		}
	}
	return runListingList(io, args)
}

func runListingList(io cli.IO, args []string) int {
	v := NewVerb(io, "listings")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return printAll(v, "/listings", nil, 0, "ID\tTARGET\tLISTED\tSTATE\tBY\tFIRST SUSPECT\tSTREAMS", func(w Writer, x *reputation.Listing) {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, x.Target.Name, phrase.Time(x.Opened), listingState(x), sources(x), firstSuspect(x), strings.Join(x.Streams, ","))
	})
}

func runListing(io cli.IO, args []string) int {
	v := NewVerb(io, "listings show")
	words, status, ok := v.Parse(args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return v.misuse("name the number of the listing, as in relay listings")
	}
	id, err := strconv.Atoi(words[0])
	if err != nil {
		return v.misuse("%q is not the number of a listing", words[0])
	}
	var l reputation.Listing
	if err := v.Get("/listings/"+strconv.Itoa(id), nil, &l); err != nil {
		return v.Fail(err)
	}
	return v.Print(l, func(w Writer) { writeListing(w, &l) })
}

// writeListing is the report for people.
func writeListing(w io.Writer, l *reputation.Listing) {
	fmt.Fprintf(w, "listing %d: %s, %s\n", l.ID, l.Target.Name, listingState(l))
	fmt.Fprintf(w, "opened %s, streams %s\n", phrase.Time(l.Opened), strings.Join(l.Streams, ", "))
	if !l.Confirmed {
		fmt.Fprintln(w, "no blocklist that is asked has said so: nothing is done by itself")
	}
	if l.Action != "" {
		fmt.Fprintf(w, "done: %s\n", l.Action)
	}
	fmt.Fprintln(w, "\nevidence:")
	for i := range l.Evidence {
		writeEvidence(w, &l.Evidence[i])
	}
	fmt.Fprintln(w, "\nsuspects:")
	for i := range l.Suspects {
		writeSuspect(w, i+1, &l.Suspects[i])
	}
	if len(l.Suspects) == 0 {
		fmt.Fprintln(w, "  no suspect: nobody left what is usual")
	}
	fmt.Fprintln(w, "\nfix first:")
	for i, s := range l.FixFirst {
		fmt.Fprintf(w, "  %d. %s\n", i+1, s)
	}
	fmt.Fprintln(w, "\nthen ask for removal:")
	for _, s := range l.Delist {
		fmt.Fprintf(w, "  %s\n", s)
	}
}

func writeEvidence(w io.Writer, e *reputation.Evidence) {
	fmt.Fprintf(w, "  %s %s %s", phrase.Time(e.Time), e.Source, strings.Join(e.Codes, ", "))
	if !e.Ended.IsZero() {
		fmt.Fprintf(w, ", ended %s", phrase.Time(e.Ended))
	}
	fmt.Fprintln(w)
	if e.Text != "" {
		fmt.Fprintf(w, "    %s\n", e.Text)
	}
	switch {
	case e.Hearsay:
		fmt.Fprintln(w, "    hearsay: passed on, or not about an address of ours; it counts for nothing")
	case e.Domain != "":
		fmt.Fprintf(w, "    said to clients %s; its mail is taken by %s\n", strings.Join(e.Clients, ", "), cmp.Or(strings.Join(e.Networks, ", "), "unknown networks"))
	}
	if len(e.Transactions) > 0 {
		fmt.Fprintf(w, "    transactions %s\n", strings.Join(e.Transactions, " "))
	}
}

func writeSuspect(w io.Writer, n int, s *reputation.Suspect) {
	fmt.Fprintf(w, "  %d. %s %s", n, s.Kind, s.Name)
	if s.User != "" {
		fmt.Fprintf(w, ", user %s", s.User)
	}
	if s.Client != "" && s.Kind != "client" {
		fmt.Fprintf(w, ", client %s", s.Client)
	}
	fmt.Fprintf(w, ", score %.1f\n     %s\n", s.Score, s.Explain())
	if len(s.Transactions) > 0 {
		fmt.Fprintf(w, "     transactions %s\n", strings.Join(s.Transactions, " "))
	}
}

func runZones(io cli.IO, args []string) int {
	v := NewVerb(io, "listings zones")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return printAll(v, "/zones", nil, 0, "ZONE\tPOLLS\tNEXT\tLISTED\tPROBLEM", func(w Writer, z *dnsbl.ZoneStatus) {
		var names []string
		for _, t := range z.Listed {
			names = append(names, t.Name)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", z.Zone, z.Polls, phrase.Time(z.Next), cmp.Or(strings.Join(names, ","), "-"), cmp.Or(z.Problem, "-"))
	})
}

// runResume lets a stream go on that a listing has paused.
func runResume(io cli.IO, args []string) int {
	v := NewVerb(io, "listings resume")
	words, status, ok := v.Parse(args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		return v.misuse("name the stream")
	}
	if err := v.do("/streams/"+url.PathEscape(words[0])+"/resume", api.Resume{Act: because("")}, nil); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}

// findingsAnswer is what relay listings findings prints.
type findingsAnswer struct {
	Checked  time.Time          `json:"checked"`
	Findings []identity.Finding `json:"findings"`
}

// findings reads all pages of them.
func (v *Verb) findings() (a findingsAnswer, err error) {
	var first api.FindingsPage
	if err := v.Get("/findings", url.Values{"limit": {"1"}}, &first); err != nil {
		return a, err
	}
	a.Checked = first.Checked
	a.Findings, _, err = all[identity.Finding](v, "/findings", nil, 0)
	return a, err
}

// runFindings prints what the running relay's own checks have found.
func runFindings(io cli.IO, args []string) int {
	v := NewVerb(io, "listings findings")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	a, err := v.findings()
	if err != nil {
		return v.Fail(err)
	}
	return v.Print(a, func(w Writer) {
		fmt.Fprintf(w, "checked %s\n\n", phrase.Time(a.Checked))
		identity.WriteTable(w, a.Findings)
	})
}

// runSuspects ranks from the journal, for a listing that was heard of elsewhere.
func runSuspects(io cli.IO, args []string) int {
	v := NewVerb(io, "listings suspects")
	at, lookBack, n := time.Now(), 24*time.Hour, 10
	var streams []string
	v.Flags.Func("at", "`time` of the listing, such as 2026-03-04T12:00:00Z; now where it is missing", func(s string) (err error) {
		at, err = time.Parse(time.RFC3339, s)
		return err
	})
	v.Flags.Func("look-back", "`duration` to look back; default: 24h", cli.DurationFlag(&lookBack))
	v.Flags.Func("stream", "only mail of this `stream`; several flags: several streams", func(s string) error { streams = append(streams, s); return nil })
	named := cli.JournalFlag(v.Flags)
	v.Flags.IntVar(&n, "n", n, "`number` of suspects")
	words, status, ok := v.Parse(args, cli.MaxJournals)
	if !ok {
		return status
	}
	if status, ok := v.readsFiles(); !ok {
		return status
	}
	files, err := cli.JournalsNamed(*v.config, append(*named, words...))
	if err != nil {
		return v.misuse("%v", err)
	}
	if lookBack < time.Hour || lookBack > 7*24*time.Hour {
		return v.Fail(errors.New("-look-back is not between 1h and 7d"))
	}
	var tell func()
	list, err := node.Suspects(func(f func(*mail.Event) error) (err error) {
		tell, err = cli.ReadJournal(io, "relay listings suspects", files, f)
		return err
	}, streams, at, lookBack)
	if tell != nil {
		defer tell()
	}
	if err != nil {
		return v.Fail(err)
	}
	list = slices.DeleteFunc(list, func(s reputation.Suspect) bool { return s.Score < reputation.NoSuspect })
	list = append([]reputation.Suspect{}, list[:min(len(list), max(n, 0))]...)
	return v.Print(list, func(w Writer) {
		for i := range list {
			writeSuspect(w, i+1, &list[i])
		}
		if len(list) == 0 {
			fmt.Fprintln(w, "no suspect: nobody left what is usual")
		}
	})
}

// words of a listing's state for a table.
func listingState(l *reputation.Listing) string {
	if l.Open() {
		return "listed"
	}
	return "ended " + phrase.Time(l.Ended)
}

func firstSuspect(l *reputation.Listing) string {
	if len(l.Suspects) == 0 {
		return "no suspect"
	}
	return l.Suspects[0].Kind + " " + l.Suspects[0].Name
}

// sources names where a listing was seen.
func sources(l *reputation.Listing) string {
	var words []string
	for i := range l.Evidence {
		words = append(words, cmp.Or(l.Evidence[i].List, l.Evidence[i].Source))
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ",")
}
