package api

import (
	"cmp"
	"context"
	"errors"
	"time"

	"postern/internal/access"
)

// MakeToken asks for a new token.
type MakeToken struct {
	Act
	Name   string      `json:"name" doc:"1 to 64 letters, digits, dots, hyphens and underscores."`
	Role   access.Role `json:"role" doc:"view, operate, admin or owner."`
	Client string      `json:"client,omitempty" doc:"The client of an owner."`
	For    Span        `json:"for,omitempty" doc:"How long it holds, such as 30d; 90d where it is missing."`
}

// NewToken is a token that was made. Token stands nowhere else.
type NewToken struct {
	Token string       `json:"token,omitempty"`
	Made  access.Token `json:"made"`
}

// RevokeToken asks to end a token.
type RevokeToken struct {
	Act
	Name string `json:"-" path:"name" doc:"Name of the token."`
}

// tokenLife is how long a token holds that names no time.
const tokenLife = 90 * 24 * time.Hour

func (a *API) addTokens() {
	admins := rights{least: access.Admin}
	a.Tokens = query(a, "/tokens", "tokens", "The tokens, without what their owners send.", admins, a.tokens)
	a.MakeToken = act(a, "/tokens", "token_new", "Make a token. The answer is the only place where it stands.", admins, false, a.makeToken)
	a.RevokeToken = act(a, "/tokens/{name}/revoke", "token_revoke", "End a token at once.", admins, false, a.revokeToken)
}

func (a *API) tokens(_ context.Context, q PageQuery) (p Page[access.Token], err error) {
	list, err := a.parts.Tokens.List()
	if err != nil {
		return p, fault(err)
	}
	return pageOf(list, func(t *access.Token) string { return t.Name }, q, "tokens")
}

func (a *API) makeToken(ctx context.Context, o *MakeToken) (e effect[NewToken], err error) {
	life := cmp.Or(time.Duration(o.For), tokenLife)
	t := access.Token{Name: o.Name, Role: o.Role, Client: o.Client, Expires: a.parts.Now().Add(life), By: access.Of(ctx).By()}
	switch err := a.parts.Tokens.Plan(t); {
	case errors.Is(err, access.ErrExists), errors.Is(err, access.ErrFull):
		return e, conflict("%v", err)
	case err != nil:
		return e, invalid("%v", err)
	}
	if o.Role == access.Owner {
		if err := a.parts.Guide.Known("client", o.Client); err != nil {
			return e, missing("%v", err)
		}
	}
	e.target, e.would = "token "+o.Name+" of role "+string(o.Role), NewToken{Made: t}
	e.run = func(context.Context) (n NewToken, err error) {
		n.Token, n.Made, err = a.parts.Tokens.New(t)
		return n, err
	}
	e.told = func(n NewToken) any { return n.Made }
	return e, nil
}

func (a *API) revokeToken(_ context.Context, o *RevokeToken) (e effect[access.Token], err error) {
	list, err := a.parts.Tokens.List()
	if err != nil {
		return e, fault(err)
	}
	for _, t := range list {
		if t.Name == o.Name {
			return effect[access.Token]{target: "token " + t.Name, before: t, would: t, run: func(context.Context) (access.Token, error) {
				return a.parts.Tokens.Revoke(t.Name)
			}}, nil
		}
	}
	return e, missing("%v", access.ErrMissing)
}
