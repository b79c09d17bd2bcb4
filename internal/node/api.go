package node

import (
	"context"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/api"
	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/describe"
	"postern/internal/health"
	"postern/mail"
	"postern/mx/provider"
	"postern/outlier"
	"postern/policy"
)

// openAPI makes what operators ask and do, for both doors.
func (n *Node) openAPI() {
	file := func() string { return n.file().Admin.TokensFile }
	n.tokens = access.NewTokens(file, time.Now, func(err error) { n.health.Report(health.Tokens, "tokens_file", err) })
	n.gate = access.NewGate(n.tokens, func() access.PortRules { return n.file().Admin.Config.Rules() }, time.Now, n.log)
	n.api = api.New(api.Parts{
		Watch: n.watch, Limiter: n.limiter, Suppressions: n.receivers.suppressions, Backoff: n.receivers.backoff, Warmups: n.warmups.List, Monitor: n.reputation.monitor,
		Guide: n.guide(), Tokens: n.tokens, Audit: n.audit, Log: n.log, Now: time.Now,
		Status: n.status, Alerts: n.alerts.status, Complete: n.completeFacts,
		Journals: n.journals, Config: func() map[string]any { return describe.Tree(n.file()) },
		Known: n.limited, Stream: func(name string) error { return known(n.file(), aStream, name) },
		Lanes: func() []admin.ProviderLane { return n.inForce.Load().Lanes() }, Groups: func() *provider.Groups { return n.file().Groups() },
		TLS:     func() []admin.TLSUse { return n.inForce.Load().TLSUse() },
		Channel: n.alerts.known, TestAlert: n.alerts.test,
		ConsoleLink: n.consoleLink,
		Reload:      n.reloadNow, CheckReload: n.checkReload,
		Owners: func(scope, name string) []string { return clientsOf(n.file(), scope, name) },
	})
}

// openAudit begins the audit, before anything is done that stands in it.
func (n *Node) openAudit(dir string) {
	n.audit = audit.Open(filepath.Join(dir, "audit.jsonl"), audit.Options{Log: n.log, Report: func(err error) { n.stateWritten("audit", err) }})
	n.opened.add(func(context.Context) { n.audit.Close() })
}

// auditChange notes what the watch did by itself, or for a listing: whom it suspended, and
// whom it let go.
func (n *Node) auditChange(c *outlier.Change) {
	byItself := c.Cause == outlier.CauseRule || c.Cause == outlier.CauseExpired || c.By == byListing
	if !byItself || c.Shadow || c.Level != outlier.Suspended && c.From != outlier.Suspended {
		return
	}
	verb := "suspend"
	if c.Level != outlier.Suspended {
		verb = "release"
	}
	actor := "the outlier watch"
	if c.By == byListing {
		actor = byListing
	}
	n.audit.Note(audit.Entry{ID: mail.NewID(c.Time), Actor: actor, Door: string(access.Inside), Verb: verb,
		Target: c.Scope + " " + c.Name, Reason: c.Reason, After: audit.State(c.State), Result: audit.Done})
}

// reloadNow reads the file of the configuration in force again.
func (n *Node) reloadNow() admin.ReloadStatus { return n.Reload(n.file().Path()) }

// checkReload says what is wrong with that file, and changes nothing. What only shows
// when it comes into force, such as a port that somebody else has, it does not know.
func (n *Node) checkReload() admin.ReloadStatus {
	s := admin.ReloadStatus{Time: time.Now(), OK: true}
	if _, _, err := config.Load(n.file().Path()); err != nil {
		s.OK, s.Problems = false, strings.Split(err.Error(), "\n")
	}
	return s
}

// adminTLS is the TLS of the port of [admin]; nil: it speaks plain HTTP.
func (n *Node) adminTLS() (*access.TLS, error) {
	return access.NewTLS(func() access.Config { return n.file().Admin.Config }, time.Now, func(err error) {
		n.log.Error("certificate of [admin] not reloaded, the old one stays in use", "err", err)
	})
}

// servePort adds the API to the port of [admin].
func (n *Node) servePort(mux *http.ServeMux) {
	mux.Handle(api.Root+"/", api.Behind(n.gate.Identify, n.api.Handler()))
}

// guardMetrics asks for a token before /metrics, where the configuration says so. A
// scraper may send it as the password of Basic, too.
func (n *Node) guardMetrics(next http.Handler) http.Handler {
	guarded := api.Behind(n.gate.Basic, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) == "/metrics" && n.file().Admin.MetricsToken {
			guarded.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// journals are the files of the journals, that of clients first.
func (n *Node) journals() []string {
	n.reopenJournals() // so that what has just happened is found
	j := n.file().Journal
	if j.File == "" {
		return nil
	}
	return []string{j.File, j.Strangers().File}
}

// clientsOf are the clients of a configuration whose a sender, a user, or a user's sender
// is; a client is its own.
func clientsOf(f *config.File, scope, name string) (clients []string) {
	switch scope {
	case outlier.Client:
		if _, ok := f.Client[name]; ok {
			return []string{name}
		}
		return nil
	case outlier.User:
		return usersClients(f, name)
	case outlier.Mailbox:
		client, _, _ := strings.Cut(name, "/")
		return clientsOf(f, outlier.Client, client)
	case outlier.UserSender:
		user, sender := outlier.Names(name)
		of := usersClients(f, user)
		if all := owners(f, sender); len(of) == 1 && (len(all) != 1 || all[0] != of[0]) {
			return append(all, of...)
		}
		return of
	}
	return owners(f, name)
}

// usersClients are the clients that a user can become by name, and those that any can.
func usersClients(f *config.File, user string) (clients []string) {
	user = mail.User(user, config.ParseAddress)
	for _, name := range sortedNames(f.Client) {
		for _, u := range f.Client[name].Users {
			if u == policy.AnyUser || mail.User(u, config.ParseAddress) == user {
				clients = append(clients, name)
				break
			}
		}
	}
	return clients
}
