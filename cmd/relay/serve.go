package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"postern/cmd/relay/cli"
	"postern/dkimsign"
	"postern/internal/config"
	"postern/internal/node"
)

// runServe runs the relay until SIGTERM or SIGINT; SIGHUP reads the
// configuration again.
func runServe(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay serve", flag.ContinueOnError)
	f.SetOutput(io.Err)
	named := cli.ConfigFlag(f, "")
	path, status, ok := cli.ParseConfig(f, named, args)
	if !ok {
		return status
	}
	file, ok := cli.LoadChecked(io, path, config.Load)
	if !ok {
		return cli.Usage
	}
	// A reader of standard error or output that goes away ends nothing: without
	// this the first line after it would be a SIGPIPE.
	signal.Ignore(syscall.SIGPIPE)
	// Before anything is open: a signal that comes early is not lost.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	n, err := startNode(io, file)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(io.Err, "relay serve: %s\n", line)
		}
		return cli.Fault
	}
	return obey(n, path, signals)
}

// startNode makes the relay of a configuration and has it take mail.
func startNode(io cli.IO, file *config.File) (*node.Node, error) {
	n, err := node.New(file, node.Options{
		Version: version, Log: io.Err, KeyMade: func(k *dkimsign.Key) {
			fmt.Fprintf(io.Out, "made DKIM key %s for %s; publish this record:\n%s\n", k.File, k.Domain, dkimsign.ZoneLine(k.Record()))
		},
	})
	if err != nil {
		return nil, err
	}
	return n, n.Start()
}

// obey does what signals ask for until the node has stopped.
func obey(n *node.Node, path string, signals <-chan os.Signal) int {
	for {
		select {
		case err := <-n.Failed():
			n.Log().Error("stopping", "err", err)
			n.Stop(context.Background())
			return cli.Fault
		case s := <-signals:
			if s == syscall.SIGHUP {
				n.Reload(path)
				continue
			}
			n.Log().Info("stopping", "signal", s.String())
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				n.Stop(context.Background())
			}()
			if !waitStopped(stopped, signals) {
				n.Log().Error("stopped at once by a second signal")
				return cli.Fault
			}
			return cli.OK
		}
	}
}

// waitStopped is false when a second signal asks not to wait any longer.
func waitStopped(stopped <-chan struct{}, signals <-chan os.Signal) bool {
	for {
		select {
		case <-stopped:
			return true
		case s := <-signals:
			if s != syscall.SIGHUP {
				return false
			}
		}
	}
}
