package upstream

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/oauth"
	"postern/mail"
)

// ErrToken: the provider gave no access token to log in with (OAuth 2.0).
var ErrToken = oauth.ErrToken

// loginByToken authenticates with an access token: OAUTHBEARER (RFC 7628) where
// the host offers it, else XOAUTH2. A host may end a token before its time, so
// that one which is refused is followed by a fresh one, once.
func (c *conn) loginByToken(ctx context.Context) error {
	if !c.caps.Bearer && !c.caps.XOAuth2 {
		return errors.New("AUTH: host offers neither OAUTHBEARER nor XOAUTH2")
	}
	for try := 0; ; try++ {
		token, err := c.h.u.tokens.Token(ctx)
		if err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
		first := oauth.XOAUTH2(c.h.cfg.Username, token)
		if c.caps.Bearer {
			first = oauth.Bearer(c.h.cfg.Username, c.h.name, c.h.port, token)
		}
		r, err := c.sendToken(ctx, first)
		if err == nil && r.Permanent() && !notTheCommand(r.Code) {
			c.h.u.tokens.Refused(token)
			if try == 0 {
				continue
			}
		}
		return c.loggedIn(&r, err, token, b64(token), b64(first))
	}
}

// sendToken is AUTH with all that belongs to it. A host that does not take the
// token says why behind 334, and gives its reply when that was answered: by an
// octet of 0x01 (RFC 7628 s. 3.2.3), with XOAUTH2 by an empty line.
func (c *conn) sendToken(ctx context.Context, response string) (mail.Reply, error) {
	mechanism, answer := "XOAUTH2", ""
	if c.caps.Bearer {
		mechanism, answer = "OAUTHBEARER", b64("\x01")
	}
	r, err := c.do(ctx, c.h.cfg.AuthTimeout, "AUTH "+mechanism+" "+b64(response))
	if err == nil && r.Code == 334 {
		r, err = c.do(ctx, c.h.cfg.AuthTimeout, answer)
	}
	return r, err
}
