package node

import (
	"fmt"
	"time"

	"postern/internal/alert"
	"postern/internal/phrase"
	"postern/mail"
	"postern/outlier"
)

// changed takes in a change of the outlier watch. Package internal/alert/deliver brings
// what is opened here to webhooks, Alertmanager and mailboxes.
func (a *alerts) changed(c outlier.Change) {
	if !a.on.Load() || c.Shadow {
		return
	}
	name := suspendedName(&c.State)
	switch {
	case c.Level == outlier.Suspended && c.Cause != outlier.CauseOtherNode:
		a.board.Open(a.suspension(&c.State), time.Now())
	case c.Level != outlier.Suspended:
		a.board.Close(name, endWords(&c), time.Now())
	}
}

// endWords say what ended a suspension.
func endWords(c *outlier.Change) string {
	words := map[string]string{outlier.CauseExpired: "its time is over", outlier.CauseOperator: "released" + phrase.Prefixed(" by ", c.By),
		outlier.CauseOtherNode: "ended on another node"}[c.Cause]
	return words + phrase.Prefixed(": ", c.Reason)
}

func suspendedName(s *outlier.State) string {
	name := s.Name
	if s.Scope == outlier.UserSender {
		user, sender := outlier.Names(name)
		name = user + " as " + sender
	}
	return "suspended " + s.Scope + " " + name
}

// suspension is the condition of somebody who is suspended.
func (a *alerts) suspension(s *outlier.State) alert.Alert {
	about := alert.About{Scope: s.Scope, Name: s.Name, Client: s.Client}
	client, user, sender := "", "", ""
	switch s.Scope {
	case outlier.Client:
		client = s.Name
	case outlier.User:
		user = s.Name
	case outlier.Mailbox:
		user = mail.Party("", s.Name)
	case outlier.UserSender:
		user, sender = outlier.Names(s.Name)
		about.Name = sender
	default:
		sender = s.Name
	}
	a.watch.Last(client, user, sender, &about)
	if user != "" {
		about.User = user
	}
	target := phrase.Target(s.Scope, s.Name)
	if s.Scope == outlier.UserSender {
		target = phrase.Target(outlier.Sender, sender) // release and show take the sender
	}
	by := "by the watch"
	if s.By != "" {
		by = "by " + s.By
	}
	return alert.Alert{
		Kind: alert.Suspended, Condition: suspendedName(s), Since: s.Since, Until: s.Until, Reason: s.Reason, About: about,
		Summary: fmt.Sprintf("%s %s is suspended %s: its mail waits", s.Scope, about.Name, by),
		Numbers: map[string]float64{"score": s.Score, "suspensions": float64(s.Suspensions)},
		Commands: []alert.Command{a.shows("senders", "show", target), {What: "release", Line: a.command("release", target)},
			{What: "extend", Line: a.command("suspend", target, "-for", "24h", "-reason", "under investigation")}},
	}
}

// suspensions holds what was told against what is: some may have ended while the relay
// was stopped. With Redis another node may have told of those that are new here.
func (a *alerts) suspensions(now time.Time) {
	var list []alert.Alert
	told := map[string]bool{}
	for _, c := range a.board.OfKind(alert.Suspended) {
		told[c.Condition] = true
	}
	for _, s := range a.Node.watch.States(outlier.Suspended) {
		if one := a.suspension(&s); !s.Shadow && (told[one.Condition] || a.redis == nil) {
			list = append(list, one)
		}
	}
	a.board.Sync(alert.Suspended, list, now)
}
