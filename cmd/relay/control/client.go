// Package control holds the commands that ask a running relay, through its API: over its
// control socket, a Unix socket that only its user and root can open, or from another
// machine by HTTPS with a token. What comes is printed as a table or, with -json, as it
// came.
package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"postern/cmd/relay/cli"
	"postern/internal/api"
	"postern/internal/api/client"
	"postern/internal/config"
	"postern/internal/plain"
)

// Verb is one command that asks a running relay, with the flags that all of them have.
type Verb struct {
	io     cli.IO
	Flags  *flag.FlagSet
	config *string
	socket string
	json   bool

	server, tokenFile, ca string
}

// NewVerb makes the flags of a command, such as "limits show".
func NewVerb(io cli.IO, name string) *Verb {
	v := &Verb{io: io, Flags: flag.NewFlagSet("relay "+name, flag.ContinueOnError)}
	v.Flags.SetOutput(io.Err)
	v.config = cli.ConfigFlag(v.Flags, " of the running relay")
	v.Flags.StringVar(&v.socket, "socket", "", "`path` of its control socket, instead of -config")
	v.Flags.StringVar(&v.server, "server", "", "`URL` of the relay, such as https://relay.example.org:8025, instead of -config; needs -token-file")
	v.Flags.StringVar(&v.tokenFile, "token-file", "", "`file` with a token for -server, from relay token new")
	v.Flags.StringVar(&v.ca, "ca", "", "`file` of certificate authorities for -server; default: those of the system")
	v.Flags.BoolVar(&v.json, "json", false, "print JSON")
	return v
}

// Parse reads flags and up to max other words, wherever they stand among the
// flags; ok is false when the command has ended with status.
func (v *Verb) Parse(args []string, max int) (words []string, status int, ok bool) {
	return cli.ParseWords(v.Flags, args, max)
}

// readsFiles says that a command asks no relay, where a flag names one; ok is false then.
func (v *Verb) readsFiles() (status int, ok bool) {
	for _, f := range []struct{ name, value string }{{"server", v.server}, {"token-file", v.tokenFile}, {"ca", v.ca}, {"socket", v.socket}} {
		if f.value != "" {
			return v.misuse("it reads files where it runs, and asks no relay: leave -%s out, or run it there", f.name), false
		}
	}
	return 0, true
}

func (v *Verb) misuse(format string, args ...any) int {
	fmt.Fprintf(v.io.Err, "%s: %s\n", v.Flags.Name(), fmt.Sprintf(format, args...))
	return cli.Usage
}

// Fail prints err and returns the exit status that it stands for.
func (v *Verb) Fail(err error) int {
	fmt.Fprintf(v.io.Err, "%s: %v\n", v.Flags.Name(), err)
	var m client.Misuse
	if errors.As(err, &m) {
		return cli.Usage
	}
	return cli.Fault
}

// relay is the one that is meant.
func (v *Verb) relay() (*client.Client, error) {
	if v.server != "" {
		return client.At(v.server, v.tokenFile, v.ca)
	}
	socket := v.socket
	if socket == "" {
		var err error
		if socket, err = config.SocketOf(cli.ConfigPath(*v.config)); err != nil {
			return nil, err
		}
	}
	return client.OnSocket(socket), nil
}

// Get asks the running relay; values without text are left out.
func (v *Verb) Get(path string, values url.Values, out any) error {
	c, err := v.relay()
	if err != nil {
		return err
	}
	return c.Get(path, values, out)
}

// do has the running relay do something.
func (v *Verb) do(path string, in, out any) error {
	c, err := v.relay()
	if err != nil {
		return err
	}
	return c.Do(path, in, out)
}

// all reads a list, up to most items (0: all), and how many there are.
func all[T any](v *Verb, path string, values url.Values, most int) ([]T, int, error) {
	c, err := v.relay()
	if err != nil {
		return nil, 0, err
	}
	return client.All[T](c, path, values, most)
}

// printAll reads a list as all does and prints it, as a table below header with what row
// writes of each item.
func printAll[T any](v *Verb, path string, values url.Values, most int, header string, row func(Writer, *T)) int {
	list, _, err := all[T](v, path, values, most)
	if err != nil {
		return v.Fail(err)
	}
	return v.Print(list, func(w Writer) {
		fmt.Fprintln(w, header)
		for i := range list {
			row(w, &list[i])
		}
	})
}

// because is the reason of an act, which the audit needs; whoever gives none says so.
func because(reason string) api.Act { return api.Act{Reason: cmp.Or(reason, "no reason given")} }

// Print writes v as JSON where that was asked for, and else calls table.
func (v *Verb) Print(value any, table func(w io.Writer)) int {
	if v.json {
		e := json.NewEncoder(v.io.Out)
		e.SetIndent("", "  ")
		if err := e.Encode(value); err != nil {
			return v.Fail(err)
		}
		return cli.OK
	}
	w := tabwriter.NewWriter(v.io.Out, 0, 8, 2, ' ', 0)
	table(plain.NewWriter(w)) // columns are as wide as what is shown
	if err := w.Flush(); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}
