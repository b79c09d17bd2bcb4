package offline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/explain"
	"postern/internal/scanfile"
	"postern/mail"
	"postern/policy"
	"postern/relay"
	"postern/scan"
	"postern/scan/links"
)

// Scan shows the message in a file to each scanner.
func Scan(std cli.IO, args []string) int {
	f := flag.NewFlagSet("relay scan", flag.ContinueOnError)
	f.SetOutput(std.Err)
	path := cli.ConfigFlag(f, " with the scanners to ask")
	envelope := envelopeFlags(f)
	asJSON := f.Bool("json", false, "print JSON")
	words, status, ok := cli.ParseWords(f, args, 1)
	if !ok {
		return status
	}
	if len(words) == 0 {
		fmt.Fprintln(std.Err, "relay scan: name one file that holds a message; - is standard input")
		return cli.Usage
	}
	file, set, err := openScanners(*path, envelope)
	if errors.Is(err, scanfile.ErrNone) && looksItself(file, envelope.Client) {
		err = nil
	}
	if err != nil {
		fmt.Fprintf(std.Err, "relay scan: %v\n", err)
		return cli.Usage
	}
	defer set.Stop(nil)
	m, err := readMessage(std, words[0], file, envelope)
	if err != nil {
		fmt.Fprintf(std.Err, "relay scan: %s: %v\n", words[0], err)
		return cli.Usage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	looked, err := lookAt(ctx, file, m)
	if err != nil {
		fmt.Fprintf(std.Err, "relay scan: %v\n", err)
		return cli.Usage
	}
	return printScans(std, &looked, set.Each(ctx, m), *asJSON)
}

// looksItself reports whether the relay without a scanner would look at mail of a
// client.
func looksItself(file *config.File, client string) bool {
	if c := clientNamed(file, client); c != nil {
		if _, ok := c.Attachments(); ok {
			return true
		}
	}
	return len(file.Links.Zones)+len(file.Links.Files) > 0
}

func clientNamed(file *config.File, name string) *policy.Client {
	for _, c := range file.Policy().Clients() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// lookAt is what the rules for attachments and the lists of links say.
func lookAt(ctx context.Context, file *config.File, m *scan.Message) (relay.Looked, error) {
	lists, err := links.New(links.Options{Config: file.Links, Zones: file.Reputation.DNSBL, Own: file.OwnDomains(), Servers: file.Reputation.Resolvers})
	if err != nil {
		return relay.Looked{}, err
	}
	defer lists.Stop(nil)
	lists.Prove()
	return relay.LookAt(ctx, &m.Content, clientNamed(file, m.Client), lists)
}

// envelopeFlags adds the flags that say whose a message is taken for.
func envelopeFlags(f *flag.FlagSet) *scanfile.Envelope {
	e := &scanfile.Envelope{}
	f.StringVar(&e.Client, "client", "", "treat the message as mail of this `client`, and ask only the scanners that see its mail; default: ask all")
	f.StringVar(&e.User, "user", "", "treat it as mail of this SASL `user`")
	f.StringVar(&e.From, "from", "", "its reverse-path, an `address`; default: the one in header From")
	f.Func("to", "a forward-path, an `address`; may be given several times; default: those in To and Cc", func(s string) error {
		e.To = append(e.To, s)
		return nil
	})
	return e
}

// openScanners starts the scanners of a configuration for an envelope, whose
// stream it fills in.
func openScanners(path string, e *scanfile.Envelope) (*config.File, *scan.Set, error) {
	file, err := config.LoadRules(cli.ConfigPath(path))
	if err != nil {
		return nil, nil, err
	}
	if e.Client != "" {
		client, ok := file.Client[e.Client]
		if !ok {
			return nil, nil, fmt.Errorf("the configuration has no client %q", e.Client)
		}
		e.Stream = client.Stream
	}
	set, err := scanfile.Open(scanfile.Options{Hostname: file.Hostname, Configs: file.Scanner, Client: e.Client, Stream: e.Stream})
	return file, set, err
}

func readMessage(std cli.IO, name string, file *config.File, e *scanfile.Envelope) (*scan.Message, error) {
	in := std.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return scanfile.Read(io.Reader(in), file.Message.MaxSize, file.Hostname, e)
}

// printScans says what each answered and what would become of the message. The
// status is 0 where it would go on, 1 where it would be refused and 3 where it would
// be deferred.
func printScans(std cli.IO, looked *relay.Looked, list []scan.Response, asJSON bool) int {
	e := mail.Event{Attachments: looked.Attachments, Links: looked.Links}
	for i := range list {
		e.Scans = append(e.Scans, list[i].Event())
	}
	rule, reply := looked.Rule, looked.Reply
	if v := scan.Deciding(list); v != nil && (reply == nil || looked.Links != nil) { // as in the relay: attachments, scanners, links
		rule, reply = "scanner "+v.Scanner, relay.ScanReply(v)
	}
	status, end := cli.OK, "goes on"
	switch {
	case reply != nil && reply.Temporary():
		status, end = cli.Unknown, "deferred by "+rule+": "+reply.String()
	case reply != nil:
		status, end = cli.Fault, "refused by "+rule+": "+reply.String()
	}
	if asJSON {
		words := ""
		if reply != nil {
			words = reply.String()
		}
		cli.PrintJSON(std, map[string]any{"attachments": e.Attachments, "links": e.Links, "scans": e.Scans, "status": status, "rule": rule, "reply": words})
		return status
	}
	fmt.Fprintf(std.Out, "%send         %s\n", explain.Content(&e), end)
	return status
}

// simulateScanners shows the messages of a folder to the scanners of a
// configuration.
func simulateScanners(std cli.IO, path, dir string, top int, asJSON bool) int {
	e := &scanfile.Envelope{}
	file, set, err := openScanners(path, e)
	if err != nil {
		fmt.Fprintf(std.Err, "relay simulate: %v\n", err)
		return cli.Usage
	}
	defer set.Stop(nil)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := scanfile.Replayer{Set: set, MaxSize: file.Message.MaxSize, Hostname: file.Hostname, Envelope: *e}
	report, err := p.Folder(ctx, dir)
	switch {
	case err != nil:
		fmt.Fprintf(std.Err, "relay simulate: %v\n", err)
		return cli.Fault
	case asJSON:
		cli.PrintJSON(std, report)
	default:
		report.Write(std.Out, max(0, top))
	}
	return cli.OK
}
