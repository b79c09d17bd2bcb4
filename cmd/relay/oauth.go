package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/oauth"
)

func runOAuth(io cli.IO, args []string) int {
	return cli.Subcommands(io, "oauth", args, map[string]func(cli.IO, []string) int{"login": runOAuthLogin}, "login")
}

// runOAuthLogin gets the refresh token of a mailbox by the device flow.
func runOAuthLogin(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay oauth login", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, "")
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	file, _, err := config.Load(cli.ConfigPath(*path))
	if err != nil {
		fmt.Fprintln(io.Err, err)
		return cli.Usage
	}
	if len(words) != 1 || file.Upstream[words[0]].OAuth == nil {
		fmt.Fprintln(io.Err, "relay oauth login: name an [upstream.NAME] that has oauth")
		return cli.Usage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = oauth.Login(ctx, *file.Upstream[words[0]].OAuth, file.TokenFile(words[0]), func(address, code string) {
		fmt.Fprintf(io.Out, "Open %s, enter the code %s and log in as %s.\n", address, code, file.Upstream[words[0]].Username)
	})
	if err != nil {
		fmt.Fprintf(io.Err, "relay oauth login: %v\n", err)
		return cli.Fault
	}
	fmt.Fprintf(io.Out, "The token is kept in %s; a running relay takes it within minutes.\n", file.TokenFile(words[0]))
	return cli.OK
}
