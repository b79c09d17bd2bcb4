package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"postern/internal/config"
	"postern/internal/oauth"
)

func runOAuth(io stdio, args []string) int {
	return subcommands(io, "oauth", args, map[string]func(stdio, []string) int{"login": runOAuthLogin}, "login")
}

// runOAuthLogin gets the refresh token of a mailbox by the device flow.
func runOAuthLogin(io stdio, args []string) int {
	f := flag.NewFlagSet("relay oauth login", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := configFlag(f, "")
	words, status, ok := parseWords(f, args, 1)
	if !ok {
		return status
	}
	file, _, err := config.Load(*path)
	if err != nil {
		fmt.Fprintln(io.err, err)
		return exitUsage
	}
	if len(words) != 1 || file.Upstream[words[0]].OAuth == nil {
		fmt.Fprintln(io.err, "relay oauth login: name an [upstream.NAME] that has oauth")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = oauth.Login(ctx, *file.Upstream[words[0]].OAuth, file.TokenFile(words[0]), func(address, code string) {
		fmt.Fprintf(io.out, "Open %s, enter the code %s and log in as %s.\n", address, code, file.Upstream[words[0]].Username)
	})
	if err != nil {
		fmt.Fprintf(io.err, "relay oauth login: %v\n", err)
		return exitFault
	}
	fmt.Fprintf(io.out, "The token is kept in %s; a running relay takes it within minutes.\n", file.TokenFile(words[0]))
	return exitOK
}
