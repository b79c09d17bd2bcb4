package control

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/access"
	"postern/internal/api"
	"postern/internal/phrase"
)

// Token makes, lists and revokes tokens of the API.
func Token(io cli.IO, args []string) int {
	return cli.Subcommands(io, "token", args, map[string]func(cli.IO, []string) int{"new": newToken, "list": listTokens, "revoke": revokeToken}, "new", "list", "revoke")
}

// newToken prints a token on standard output, and what it is on standard error, so that
// the one can go into a file.
func newToken(io cli.IO, args []string) int {
	v := NewVerb(io, "token new")
	o := api.MakeToken{Role: access.View}
	v.Flags.Func("role", "`role`: view, operate, admin or owner; view where it is missing", func(s string) error { return o.Role.UnmarshalText([]byte(s)) })
	v.Flags.StringVar(&o.Client, "client", "", "the `client` of an owner")
	v.Flags.Func("for", "`duration` until it expires, such as 30d; default: 90d", cli.DurationFlag((*time.Duration)(&o.For)))
	v.Flags.StringVar(&o.Reason, "reason", "", "why; a `text` for the audit")
	words, status, ok := v.Parse(args, 1)
	switch {
	case !ok:
		return status
	case len(words) == 0:
		return v.misuse("name the token, as in relay token new grafana -role view")
	}
	o.Name, o.Act = words[0], because(o.Reason)
	var made api.NewToken
	if err := v.do("/tokens", o, &made); err != nil {
		return v.Fail(err)
	}
	return v.Print(made, func(w Writer) {
		fmt.Fprintln(w, made.Token)
		fmt.Fprintf(io.Err, "token %s of role %s, until %s; it stands nowhere else: keep it in a file with mode 0600\n", made.Made.Name, roleWords(&made.Made), phrase.Time(made.Made.Expires))
	})
}

func roleWords(t *access.Token) string {
	return string(t.Role) + phrase.Prefixed(" of client ", t.Client)
}

func listTokens(io cli.IO, args []string) int {
	v := NewVerb(io, "token list")
	if _, status, ok := v.Parse(args, 0); !ok {
		return status
	}
	return printAll(v, "/tokens", nil, 0, "NAME\tROLE\tMADE\tBY\tUNTIL", func(w Writer, t *access.Token) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.Name, roleWords(t), phrase.Time(t.Created), cmp.Or(phrase.Printable(t.By), "-"), phrase.Time(t.Expires))
	})
}

func revokeToken(io cli.IO, args []string) int {
	v := NewVerb(io, "token revoke")
	reason := v.Flags.String("reason", "", "why; a `text` for the audit")
	words, status, ok := v.Parse(args, 1)
	switch {
	case !ok:
		return status
	case len(words) == 0:
		return v.misuse("name the token, as in relay token list")
	}
	if err := v.do("/tokens/"+url.PathEscape(words[0])+"/revoke", api.RevokeToken{Act: because(*reason)}, nil); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}
