package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/text"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
	"postern/reputation"
)

// hinderer gathers what keeps the mail of one name from passing.
type hinderer struct {
	*Node
	ctx         context.Context
	file        *config.File
	scope, name string
	// user and sender are what its mail must have; "": any.
	user, sender string
	submitter    string // "client/name"; "": any

	ways    []ratelimit.Facts // by which its mail may come
	streams []string
	users   []string // of its clients
	list    []admin.Hindrance
}

func (h *hinderer) add(command, format string, args ...any) {
	h.list = append(h.list, admin.Hindrance{What: fmt.Sprintf(format, args...), Command: command})
}

// clients are those by which mail of the name comes.
func (h *hinderer) clients() (clients []string) {
	all := slices.Sorted(maps.Keys(h.file.Client))
	if h.sender != "" {
		all = owners(h.file, h.sender)
	}
	for _, c := range all {
		if of, _, ok := strings.Cut(h.submitter, "/"); ok && c != of {
			continue
		}
		if (h.scope != outlier.Client || c == h.name) && (h.user == "" || slices.Contains(h.file.Client[c].Users, h.user)) {
			clients = append(clients, c)
		}
	}
	return clients
}

// client notes the ways through a client, and users of it who are shut out.
func (h *hinderer) client(name string) {
	c := h.file.Client[name]
	if !slices.Contains(h.streams, c.Stream) {
		h.streams = append(h.streams, c.Stream)
	}
	users := c.Users
	if h.user != "" {
		users = []string{h.user}
	}
	for _, u := range users {
		if !slices.Contains(h.users, u) {
			h.users = append(h.users, u)
			if h.file.User[u].Disabled {
				h.add("", "user %s is disabled in the configuration", u)
			}
		}
		h.way(ratelimit.Facts{Client: name, User: u})
	}
	if len(users) == 0 {
		h.way(ratelimit.Facts{Client: name})
	}
}

// maxWays bounds how many users of one client are looked at.
const maxWays = 100

func (h *hinderer) way(f ratelimit.Facts) {
	f.Anywhere = true
	if h.sender != "" {
		f.Sender = mail.Identity(h.sender)
	}
	if len(h.ways) < maxWays && h.completeFacts(&f) == nil {
		h.ways = append(h.ways, f)
	}
}

// suspensions notes others whose suspension stops this mail, too: its clients,
// their users, and of a client or user the senders that were seen with it.
func (h *hinderer) suspensions() {
	rows, _ := h.watch.List(outlier.Query{State: outlier.Throttled})
	passes := map[string]bool{} // senders whose state holds no mail of users and submitters
	for _, s := range h.watch.States(outlier.Throttled) {
		passes[s.Name] = passes[s.Name] || outlier.OfUnnamed(&s) && h.user+h.submitter != ""
	}
	for i := range rows {
		r := &rows[i]
		if r.Scope == outlier.Sender && passes[r.Name] {
			continue
		}
		if r.Shadow || r.Scope == h.scope && r.Name == h.name || !h.concerns(r) {
			continue
		}
		h.add(h.command("release", phrase.Target(r.Scope, r.Name)), "%s %s is %s%s", r.Scope, r.Name, phrase.State(r), phrase.Prefixed(": ", r.Reason))
	}
}

func (h *hinderer) concerns(r *outlier.Row) bool {
	by := func(client string) bool {
		return slices.ContainsFunc(h.ways, func(f ratelimit.Facts) bool { return f.Client == client })
	}
	user, sender := "", ""
	switch r.Scope {
	case outlier.Client:
		return by(r.Name)
	case outlier.User:
		user = r.Name
	case outlier.Mailbox: // of others only where they are asked for
		return r.Name == h.submitter
	case outlier.UserSender:
		user, sender = outlier.Names(r.Name)
	default:
		sender = r.Name
	}
	mine := func(his, own string) bool { return his == "" || own == "" || his == own }
	if !mine(user, h.user) || !mine(sender, h.sender) {
		return false
	}
	// Of a client: its users, and the senders that were seen with it.
	return sender != "" && (h.sender != "" || by(r.Client)) || sender == "" && slices.Contains(h.users, user)
}

// limits notes those without room for one more message.
func (h *hinderer) limits() {
	seen := map[string]bool{}
	for _, f := range h.ways {
		all, err := h.limiter.Explain(h.ctx, f, ratelimit.Recipient{})
		if err != nil {
			h.add("", "limits could not be asked: %v", err)
			return
		}
		for i := range all {
			x := &all[i]
			if !x.Applies || x.Fits || x.Mode == ratelimit.Shadow || seen[x.Limit+" "+x.Key] {
				continue
			}
			seen[x.Limit+" "+x.Key] = true
			h.full(x)
		}
	}
}

// full notes a limit with the raise that lets a tenth of it more pass for an hour.
func (h *hinderer) full(x *ratelimit.Explanation) {
	for i := range x.Windows {
		w := &x.Windows[i]
		if w.Room > 0 {
			continue
		}
		more := fmt.Sprintf("+%d", max(1, w.Max/10))
		if w.Unit == ratelimit.Bytes {
			more = "+" + text.FormatSize(max(1, w.Max/10>>20)<<20)
		}
		command := h.command("limits", "allow", "-limit", x.Limit, "-key", x.Key, "-"+strings.ReplaceAll(w.Unit.String(), "_", "-"), more,
			"-until", "1h", "-reason", "release of "+phrase.Target(h.scope, h.name))
		h.add(command, "limit %s is full for %s: %s, next fits %s", x.Limit, x.Key, phrase.Used(w), phrase.Wait(w.Wait))
		return
	}
}

// stream notes what stops mail on its way out.
func (h *hinderer) stream(name string) {
	for _, p := range h.receivers.backoff.List() {
		switch {
		case p.Stream != name || !h.mine(&p):
		case p.Provider != "":
			h.add(h.command("backoff", "end", p.Provider), "mail of stream %s to provider %s waits until %s, as its hosts asked for less", name, p.Provider, phrase.Time(p.Until))
		case p.Domain == "":
			h.add(h.command("listings", "resume", name), "stream %s is paused by a listing until %s", name, phrase.Time(p.Until))
		default:
			h.add(h.command("backoff", "end", p.Domain), "mail of stream %s%s to %s waits until %s, as the receiver asked for less", name,
				phrase.Whose(&p), p.Domain, phrase.Time(p.Until))
		}
	}
	if h.receivers.suppressions == nil {
		return
	}
	suppressed := 0
	for _, s := range h.receivers.suppressions.List() {
		if (s.Stream == name || s.Stream == reputation.AllStreams) && time.Until(s.Until) > 0 {
			suppressed++
		}
	}
	if suppressed > 0 {
		h.add(h.command("suppressions", "list"), "%s suppressed for stream %s; such mail is refused", text.Count(suppressed, "recipient is", "recipients are"), name)
	}
}

// mine reports whether what waits may be mail of the name.
func (h *hinderer) mine(p *reputation.BackoffEntry) bool {
	client := p.Client == "" || slices.ContainsFunc(h.ways, func(f ratelimit.Facts) bool { return f.Client == p.Client })
	return client && (p.Sender == "" || h.scope != outlier.Sender || string(p.Sender) == h.name)
}

// relay notes what keeps all mail, or all of its streams, from passing.
func (h *hinderer) relay() {
	for _, r := range h.readiness().Reasons {
		mine := r.What != admin.State
		if r.What == admin.Upstream {
			mine = slices.ContainsFunc(h.streams, func(s string) bool { return h.file.Stream[s].Upstream == r.Name })
		}
		if mine {
			h.add(h.command("status"), "%s", r.Text)
		}
	}
}
