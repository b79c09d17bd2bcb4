package node

import (
	"path/filepath"
	"strings"
	"time"

	"postern/internal/config"
	"postern/mail"
	"postern/outlier"
	"postern/outlier/logins"
	"postern/ratelimit/strangers"
	"postern/relay"
)

// openWatch starts the watch over what senders do.
func (n *Node) openWatch(file *config.File) error {
	o := outlier.Options{Log: n.log, Parse: config.ParseAddress, Dir: filepath.Join(file.StateDir, "outlier"),
		Report: func(err error) { n.stateWritten("outlier", err) }, Changes: func(c outlier.Change) {
			n.metrics.CountChange("outlier "+c.Scope, c.Level.String())
			n.alerts.changed(c)
			n.auditChange(&c)
		}}
	n.logins = logins.New(nil, func(zone string, why error) {
		if why != nil {
			n.log.Warn("blocklist of logins not believed", "zone", zone, "err", why)
			return
		}
		n.log.Info("blocklist of logins believed again", "zone", zone)
	})
	if err := n.logins.Use(loginLists(file)); err != nil {
		return err
	}
	n.run(n.logins.Run)
	o.Listed = n.logins.Listed
	if n.redis != nil {
		o.Shared = &outlier.Shared{Client: n.redis, Prefix: file.Redis.Prefix}
	}
	n.openTuning(file)
	var err error
	if n.watch, err = outlier.New(n.tuning.Use(file.Outlier), o); err != nil {
		return err
	}
	n.run(n.watch.Run)
	n.run(n.tuning.Run)
	n.openLearning(file)
	return nil
}

// loginLists are the blocklists that are asked about the addresses of users.
func loginLists(file *config.File) logins.Setup {
	return logins.Setup{Zones: file.Outlier.Networks.Zones, Tables: file.Reputation.DNSBL, Servers: file.Reputation.Resolvers}
}

// suspended is the answer of the watch as a session takes it.
func (n *Node) suspended(client, user string, from mail.Identity) relay.Suspension {
	return suspension(n.watch.Judge(client, user, from))
}

// admit is the answer of the watch at the gate.
func (n *Node) admit(id, client, user, submitter, stream string, from mail.Identity, recipients int) relay.Suspension {
	return suspension(n.watch.Admit(id, client, user, submitter, stream, from, recipients))
}

// brake is the answer of the watch at RCPT.
func (n *Node) brake(id, client, user string, from mail.Identity, to mail.RecipientID) (time.Duration, string) {
	left, who := n.watch.Brake(id, client, user, from, to)
	return left, who.Scope
}

// brakeMessage is the answer of the watch behind the header.
func (n *Node) brakeMessage(id, client, submitter string, from mail.Identity, to []mail.RecipientID) time.Duration {
	left, _ := n.watch.BrakeMessage(id, client, submitter, from, to...)
	return left
}

// past is what limits on strangers need to know of a submitter.
func (n *Node) past(client, user string, from mail.Identity) (watched, newSender bool) {
	p := n.watch.Past(client, user, from)
	return !p.Since.IsZero() && time.Since(p.Since) >= strangers.WatchedDays*24*time.Hour, p.Age <= strangers.NewDays && !p.OfOthers
}

func suspension(v outlier.Judgment) relay.Suspension {
	if !v.Refuse() {
		return relay.Suspension{}
	}
	s := relay.Suspension{Scope: v.Scope, Name: v.Name, Pace: v.Pace(), Unnamed: v.Unnamed}
	switch s.Scope {
	case outlier.Sender:
		s.Name = "<" + strings.Trim(s.Name, "<>") + ">"
	case outlier.Mailbox: // without the client, whose name is the operator's
		_, name, _ := strings.Cut(s.Name, "/")
		s.Name = "submitter " + name
	case outlier.Client: // its name is the operator's, not the client's
		s.Name = "this client"
	}
	if !v.Until.IsZero() {
		s.Left = v.Left(time.Now())
	}
	return s
}
