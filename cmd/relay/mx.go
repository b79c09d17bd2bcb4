package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"

	"postern/cmd/relay/cli"
	"postern/cmd/relay/control"
	"postern/internal/check"
	"postern/internal/config"
	"postern/internal/syntax"
)

// runMX shows who takes mail for a domain.
func runMX(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay mx", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, "")
	stream := f.String("stream", "", "`stream` that the mail would leave by; default: the first one whose upstream has mx = true, else the first")
	connect := f.Bool("connect", false, "open a session with each host, up to the point where MAIL would be sent")
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) != 1 {
		fmt.Fprintln(io.Err, "relay mx: name one domain")
		return cli.Usage
	}
	domain, err := syntax.Domain(words[0])
	if err != nil {
		fmt.Fprintf(io.Err, "relay mx: %q is not a domain\n", words[0])
		return cli.Usage
	}
	file, _, err := config.Load(cli.ConfigPath(*path))
	if err != nil {
		fmt.Fprintln(io.Err, err)
		return cli.Usage
	}
	if *stream == "" {
		*stream = directStream(file)
	}
	if _, ok := file.Stream[*stream]; !ok {
		fmt.Fprintf(io.Err, "relay mx: the configuration has no stream %q\n", *stream)
		return cli.Usage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	good, err := check.Exchangers(ctx, io.Out, file, *stream, domain, *connect, func(group string) {
		control.WriteProvider(io, *path, file.Stream[*stream].Upstream, *stream, domain, group)
	})
	if err != nil {
		fmt.Fprintf(io.Err, "relay mx: %v\n", err)
		return cli.Fault
	}
	if !good {
		return cli.Fault
	}
	return cli.OK
}

// directStream is the first stream that delivers to exchangers, else the first.
func directStream(file *config.File) string {
	names := slices.Sorted(maps.Keys(file.Stream))
	for _, name := range names {
		if file.Upstream[file.Stream[name].Upstream].MX {
			return name
		}
	}
	if len(names) > 0 {
		return names[0]
	}
	return ""
}
