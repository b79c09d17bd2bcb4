package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/alert"
	"postern/internal/health"
	"postern/internal/phrase"
	"postern/reputation/identity"
)

// look reports to the board what holds; it is called every second.
func (a *alerts) look(tick int) {
	if !a.on.Load() {
		return
	}
	now := time.Now()
	sync := func(kind string, list []alert.Alert) { a.board.Sync(kind, list, now) }
	sync(alert.UpstreamDown, a.upstreams())
	sync(alert.NoSuccess, withCommand(a.watch.NoSuccess(a.board.OfKind(alert.NoSuccess)), a.shows("status"), a.shows("replies", "top", "-since", "1h")))
	sync(alert.Refusals, withCommand(a.watch.Refusals(a.board.OfKind(alert.Refusals)), a.shows("replies", "top", "-since", "1h")))
	sync(alert.NearLimit, withCommand(a.watch.NearLimits(a.board.OfKind(alert.NearLimit)), a.shows("limits", "top")))
	sync(alert.Store, a.store())
	sync(alert.Scanner, a.scanners())
	sync(alert.Reload, a.reloads())
	if tick%5 == 0 {
		sync(alert.Disk, a.disk())
		a.listings(sync)
		a.identity(sync)
	}
	if tick%60 == 0 {
		a.suspensions(now)
	}
}

// withCommand adds a command to those that have none.
func withCommand(list []alert.Alert, commands ...alert.Command) []alert.Alert {
	for i := range list {
		if len(list[i].Commands) == 0 {
			list[i].Commands = commands
		}
	}
	return list
}

// upstreams are the hosts that are down, and the upstreams that have no other.
func (a *alerts) upstreams() (list []alert.Alert) {
	rules := a.inForce.Load()
	for _, name := range slices.Sorted(maps.Keys(rules.Upstreams)) {
		hosts := rules.Upstreams[name].Hosts()
		if !isNeeded(rules.File, name) {
			continue
		}
		down, untried := 0, map[string]bool{}
		for i := range hosts {
			h := &hosts[i]
			untried[h.Host] = h.Up && h.Since.IsZero() && h.LastSuccess.IsZero()
			if h.Up {
				continue
			}
			down++
			if len(hosts) > 1 {
				list = append(list, alert.Alert{
					Condition: fmt.Sprintf("upstream_down host %s of %s", h.Host, name), Since: h.Since, Reason: h.LastError,
					Summary:  fmt.Sprintf("host %s of upstream %s is down", h.Host, name),
					About:    alert.About{Scope: "host", Name: h.Host, Upstream: name},
					Commands: []alert.Command{a.shows("status")},
				})
			}
		}
		if down > 0 && down == len(hosts) {
			reason, _ := upstreamReason(name, hosts, 0, time.Now())
			list = append(list, alert.Alert{
				Condition: "upstream_down upstream " + name, Since: reason.Since, Reason: hosts[len(hosts)-1].LastError,
				Summary:  fmt.Sprintf("no host of upstream %s can be used; its mail waits with the clients", name),
				About:    alert.About{Scope: "upstream", Name: name, Upstream: name},
				Commands: []alert.Command{a.shows("status")},
			})
		}
		list = append(list, a.stillDown(name, untried)...)
	}
	return list
}

// stillDown are what was told before a restart of hosts that nobody has tried since.
func (a *alerts) stillDown(upstream string, untried map[string]bool) (list []alert.Alert) {
	all := true
	for _, u := range untried {
		all = all && u
	}
	for _, told := range a.board.OfKind(alert.UpstreamDown) {
		if told.About.Upstream == upstream && (untried[told.About.Name] || told.About.Scope == "upstream" && all) {
			list = append(list, told)
		}
	}
	return list
}

func (a *alerts) store() []alert.Alert {
	s := a.storeStatus()
	if s.State != StoreAway {
		return nil
	}
	_, reason := storeReason(a.file(), s)
	return []alert.Alert{{Condition: "store redis", Since: s.Since, Summary: reason.Text, Reason: s.Err,
		About: alert.About{Scope: "store", Name: "redis"}, Commands: []alert.Command{a.shows("status")}}}
}

func (a *alerts) scanners() (list []alert.Alert) {
	for _, s := range a.inForce.Load().Scanners.States() {
		if s.Up {
			continue
		}
		list = append(list, alert.Alert{
			Condition: "scanner " + s.Name, Since: s.Since, Summary: fmt.Sprintf("scanner %s is down", s.Name), Reason: s.Why,
			About: alert.About{Scope: "scanner", Name: s.Name}, Commands: []alert.Command{a.shows("status")},
		})
	}
	return list
}

func (a *alerts) reloads() []alert.Alert {
	l := a.condition.reloaded.Load()
	if l == nil || l.OK {
		return nil
	}
	reason := ""
	if len(l.Problems) > 0 {
		reason = l.Problems[0]
	}
	return []alert.Alert{{
		Condition: "reload", Since: l.Time, Reason: reason, Numbers: map[string]float64{"problems": float64(len(l.Problems))},
		Summary:  "the last reload failed; the configuration of before is in force",
		Commands: []alert.Command{{What: "show", Line: a.command("check", "-strict")}},
	}}
}

// disk are the parts of the state that cannot be written, and a disk that is nearly full.
func (a *alerts) disk() (list []alert.Alert) {
	words := map[string]string{health.State: "the state folder cannot be written: what changes is lost at a stop",
		health.Journal: "the journal cannot be written", health.Control: "there is no control socket: commands do not reach the relay"}
	for _, h := range a.health.Reasons() {
		list = append(list, alert.Alert{Condition: "disk " + h.What, Since: h.Since, Summary: words[h.What], Reason: h.Text,
			About: alert.About{Scope: "state", Name: h.What}, Commands: []alert.Command{a.shows("status")}})
	}
	if free, share, ok := freeSpace(a.file().StateDir); ok && share < 0.05 && free < 1<<30 {
		list = append(list, alert.Alert{Condition: "disk space", Summary: fmt.Sprintf("the disk of the state folder has %d MiB (%.1f %%) left", free>>20, 100*share),
			About: alert.About{Scope: "state", Name: "space"}, Numbers: map[string]float64{"free_bytes": float64(free), "share": share},
			Commands: []alert.Command{{What: "show", Line: "df -h " + a.file().StateDir}}})
	}
	return list
}

// listings are those that are open, each with its suspect.
func (a *alerts) listings(sync func(string, []alert.Alert)) {
	var listed, suspects []alert.Alert
	for _, l := range a.reputation.monitor.Listings() {
		if !l.Open() {
			continue
		}
		id := strconv.Itoa(l.ID)
		one := alert.Alert{
			Condition: fmt.Sprintf("listing %s %s", id, l.Target.Name), Since: l.Opened,
			Summary: fmt.Sprintf("%s is listed, which concerns %s", l.Target.Name, "streams "+strings.Join(l.Streams, ", ")),
			About:   alert.About{Scope: string(l.Target.Kind), Name: l.Target.Name}, Commands: []alert.Command{a.shows("listings", "show", id)},
		}
		if len(l.Evidence) > 0 {
			e := &l.Evidence[len(l.Evidence)-1]
			one.Reason = e.Source + phrase.Prefixed(": ", e.Text)
			if len(e.Transactions) > 0 {
				one.About.Transaction = e.Transactions[len(e.Transactions)-1]
			}
		}
		for _, s := range l.Paused {
			one.Commands = append(one.Commands, alert.Command{What: "resume", Line: a.command("listings", "resume", s)})
		}
		listed = append(listed, one)
		if len(l.Suspects) == 0 {
			continue
		}
		s := &l.Suspects[0]
		target := phrase.Target(s.Kind, s.Name)
		about := alert.About{Scope: s.Kind, Name: s.Name, Client: s.Client, User: s.User, Stream: s.Stream}
		if len(s.Transactions) > 0 {
			about.Transaction = s.Transactions[len(s.Transactions)-1]
		}
		suspects = append(suspects, alert.Alert{
			Condition: fmt.Sprintf("suspect %s %s %s", id, s.Kind, s.Name), Since: l.Opened, Reason: strings.Join(s.Why, "; "), About: about,
			Summary: fmt.Sprintf("%s %s may have caused the listing of %s", s.Kind, s.Name, l.Target.Name),
			Numbers: map[string]float64{"score": s.Score, "recipients": float64(s.Recipients), "refused": float64(s.Refused), "usual_recipients": float64(s.UsualRecipients)},
			Commands: []alert.Command{a.shows("listings", "show", id),
				{What: "suspend", Line: a.command("suspend", target, "-for", "24h", "-reason", "listing "+id)}},
		})
	}
	sync(alert.Listing, listed)
	sync(alert.Suspect, suspects)
}

// identity are the checks that failed, and the certificates that end soon. What cannot be
// looked at now stays as it was told.
func (a *alerts) identity(sync func(string, []alert.Alert)) {
	findings, checked := a.reputation.monitor.Findings()
	unknown := map[string]bool{}
	var broken, ends []alert.Alert
	for i := range findings {
		f := &findings[i]
		one := alert.Alert{
			Condition: "identity " + f.Key(), Summary: fmt.Sprintf("%s of %s is wrong: %s", f.Check, f.Subject, f.Seen), Reason: f.Change,
			About: alert.About{Scope: f.Check, Name: f.Subject, Stream: f.Stream}, Commands: []alert.Command{a.shows("listings", "findings")},
		}
		isEnd := f.Check == "certificate"
		switch {
		case f.Status == identity.Unknown:
			unknown[one.Condition], unknown["certificate "+f.Key()] = true, true
		case isEnd && (f.Status == identity.Fail || f.Status == identity.Warn):
			one.Condition, one.Summary = "certificate "+f.Key(), fmt.Sprintf("certificate of %s: %s", f.Subject, f.Seen)
			ends = append(ends, one)
		case !isEnd && f.Status == identity.Fail:
			broken = append(broken, one)
		}
	}
	if !checked.IsZero() {
		sync(alert.Identity, append(broken, a.toldIf(alert.Identity, unknown)...))
		ends = append(ends, a.toldIf(alert.Certificate, unknown)...)
	} else {
		for _, told := range a.board.OfKind(alert.Certificate) {
			if told.About.Scope == "certificate" {
				ends = append(ends, told)
			}
		}
	}
	sync(alert.Certificate, append(ends, a.ownCertificates(time.Now())...))
}

// toldIf are the conditions of a kind that were told before, of those named.
func (a *alerts) toldIf(kind string, is map[string]bool) (list []alert.Alert) {
	for _, told := range a.board.OfKind(kind) {
		if is[told.Condition] {
			list = append(list, told)
		}
	}
	return list
}
