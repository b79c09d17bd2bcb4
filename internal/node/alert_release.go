package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/alert"
	"postern/internal/alert/deliver"
	"postern/internal/api"
	"postern/outlier"
)

// linkFor is how long a release link holds at most; it ends with the suspension.
const linkFor = 7 * 24 * time.Hour

// links are the pages of release links.
func (a *alerts) links() *admin.ReleaseLinks {
	return &admin.ReleaseLinks{
		Find: func(token string) (s admin.Suspension, err error) {
			_, c, err := a.linked(token)
			if err != nil {
				return s, err
			}
			return a.page(&c), nil
		},
		Release: a.releaseByLink,
	}
}

// linked is the suspension that a link is about, with the channel that it went to. The
// channel must still be there and give links.
func (a *alerts) linked(token string) (channel string, c alert.Alert, err error) {
	channel, id, ok := deliver.ReadToken(a.key, token)
	if !ok || a.file().Alert[channel].ReleaseLink == "" {
		return "", c, admin.ErrReleased
	}
	c, ok = a.board.Find(id)
	if !ok || c.Kind != alert.Suspended || time.Since(c.Since) > linkFor {
		return "", c, admin.ErrReleased
	}
	return channel, c, nil
}

func (a *alerts) page(c *alert.Alert) admin.Suspension {
	return admin.Suspension{Relay: c.Relay, Scope: strings.ReplaceAll(c.About.Scope, "_", " "), Name: c.About.Name, Client: c.About.Client, Reason: c.Reason, Since: c.Since, Until: c.Until}
}

// releaseByLink ends the suspension, and with it the link.
func (a *alerts) releaseByLink(token, by string) (s admin.Suspension, err error) {
	channel, c, err := a.linked(token)
	if err != nil {
		return s, err
	}
	who := access.Caller{Name: fmt.Sprintf("a link of alert %s, from %s", channel, by), Role: access.Operate, Door: access.Link, Remote: by}
	_, err = a.api.Release(access.With(context.Background(), who), api.Release{Act: api.Act{Reason: "released by a link of alert " + c.ID}, Name: c.About.Scope + ":" + a.nameOf(&c)})
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusConflict {
		err = admin.ErrReleased
	}
	return a.page(&c), err
}

// nameOf is the name under which the watch knows what a condition is about.
func (a *alerts) nameOf(c *alert.Alert) string {
	for _, s := range a.Node.watch.States(outlier.Suspended) {
		if suspendedName(&s) == c.Condition {
			return s.Name
		}
	}
	return c.About.Name
}
