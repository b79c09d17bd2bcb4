package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/mail"
	"postern/outlier"
	"postern/ratelimit"
)

// guide is what the control socket asks about names.
func (n *Node) guide() *admin.Guide {
	return &admin.Guide{
		Find: func(name string) string {
			f := n.file()
			if _, ok := f.User[mail.User(name, config.ParseAddress)]; ok {
				return outlier.User
			}
			if _, ok := f.Client[name]; ok {
				return outlier.Client
			}
			return ""
		},
		Known:   func(scope, name string) error { return known(n.file(), scope, name) },
		Journal: func() string { return n.file().Journal.File },
		Still:   n.hindrances,
	}
}

// file is the configuration in force.
func (n *Node) file() *config.File { return n.inForce.Load().File }

// known says why a configuration has no such sender, user, client or stream; nil
// when it has.
func known(f *config.File, scope, name string) error {
	var names []string
	switch scope {
	case outlier.User:
		names, name = slices.Sorted(maps.Keys(f.User)), mail.User(name, config.ParseAddress)
	case outlier.Client:
		names = slices.Sorted(maps.Keys(f.Client))
	case aStream:
		names = slices.Sorted(maps.Keys(f.Stream))
	case outlier.Mailbox:
		client, _, _ := strings.Cut(name, "/")
		if err := known(f, outlier.Client, client); err != nil {
			return err
		}
		if c := f.Client[client]; !c.Names() {
			return fmt.Errorf("client %q tells no submitters; set client.%s.submitter", client, client)
		}
		return nil
	case outlier.UserSender:
		user, sender := outlier.Names(name)
		if submitter, ok := mail.SubmitterOf(user); ok {
			return cmp.Or(known(f, outlier.Mailbox, submitter), known(f, outlier.Sender, sender))
		}
		return cmp.Or(known(f, outlier.User, user), known(f, outlier.Sender, sender))
	default:
		if strings.Contains(name, "*") {
			return fmt.Errorf("%q is not a pattern here, and would be one sender with a star in its name; name each sender, or its client", name)
		}
		if len(owners(f, name)) == 0 {
			return fmt.Errorf("no client owns the sender %q", name)
		}
		return nil
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("the configuration has no %s %q; there %s", scope, name, namesWords(names))
}

// limited is known for all that a key of a limit is chosen by.
func (n *Node) limited(k *ratelimit.Filter) error {
	f := n.file()
	for _, named := range [...]struct{ scope, name string }{
		{outlier.Client, k.Client}, {outlier.User, k.User}, {outlier.Mailbox, k.Submitter}, {outlier.Sender, string(k.Sender)}, {aStream, k.Stream},
	} {
		if named.name == "" || named.name == "<>" {
			continue
		}
		if err := known(f, named.scope, named.name); err != nil {
			return err
		}
	}
	if _, ok := f.Upstream[k.Upstream]; k.Upstream != "" && !ok {
		return fmt.Errorf("the configuration has no upstream %q; there %s", k.Upstream, namesWords(slices.Sorted(maps.Keys(f.Upstream))))
	}
	return nil
}

// aStream is the scope of a stream, beside those of the watch.
const aStream = "stream"

// namesWords lists some names of the configuration.
func namesWords(names []string) string {
	const most = 20
	switch {
	case len(names) == 0:
		return "is none at all"
	case len(names) > most:
		return fmt.Sprintf("are %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "are: " + strings.Join(names, ", ")
}

// owners are the clients that own a sender, by name.
func owners(f *config.File, sender string) (clients []string) {
	address, err := config.ParseAddress(sender)
	if err != nil {
		return nil
	}
	for _, c := range f.Policy().Clients() {
		if c.Owns(address) {
			clients = append(clients, c.Name())
		}
	}
	return clients
}

// hindrances lists what keeps mail of a sender, user or client from passing,
// apart from its own suspension.
func (n *Node) hindrances(ctx context.Context, scope, name string) []admin.Hindrance {
	h := hinderer{Node: n, ctx: ctx, file: n.file(), scope: scope, name: name, list: []admin.Hindrance{}}
	switch scope {
	case outlier.User:
		h.user = name
	case outlier.Mailbox:
		h.submitter = name
	case outlier.Sender:
		h.sender = name
	case outlier.UserSender:
		h.user, h.sender = outlier.Names(name)
		if submitter, ok := mail.SubmitterOf(h.user); ok {
			h.user, h.submitter = "", submitter
		}
	}
	for _, c := range h.clients() {
		h.client(c)
	}
	h.suspensions()
	h.limits()
	for _, s := range h.streams {
		h.stream(s)
	}
	h.relay()
	return h.list
}

// command is one that an operator can paste, for this node.
func (n *Node) command(words ...string) string { return config.Command(n.file().Path(), words...) }
