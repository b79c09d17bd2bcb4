// Package control holds the commands that ask a running relay, over its control
// socket: a Unix socket that only its user and root can open. Each is one request
// and one answer in JSON, printed as a table or, with -json, as it came; package
// internal/admin answers them.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/config"
)

// Verb is one command on the control socket, with the flags that all of them have.
type Verb struct {
	io     cli.IO
	Flags  *flag.FlagSet
	config *string
	socket string
	json   bool
}

// NewVerb makes the flags of a command, such as "limits show".
func NewVerb(io cli.IO, name string) *Verb {
	v := &Verb{io: io, Flags: flag.NewFlagSet("relay "+name, flag.ContinueOnError)}
	v.Flags.SetOutput(io.Err)
	v.config = cli.ConfigFlag(v.Flags, " of the running relay")
	v.Flags.StringVar(&v.socket, "socket", "", "its control socket, instead of -config; a `path`")
	v.Flags.BoolVar(&v.json, "json", false, "print JSON")
	return v
}

// Parse reads flags and up to max other words, wherever they stand among the
// flags; ok is false when the command has ended with status.
func (v *Verb) Parse(args []string, max int) (words []string, status int, ok bool) {
	return cli.ParseWords(v.Flags, args, max)
}

func (v *Verb) misuse(format string, args ...any) int {
	fmt.Fprintf(v.io.Err, "%s: %s\n", v.Flags.Name(), fmt.Sprintf(format, args...))
	return cli.Usage
}

// Fail prints err and returns the exit status that it stands for.
func (v *Verb) Fail(err error) int {
	fmt.Fprintf(v.io.Err, "%s: %v\n", v.Flags.Name(), err)
	var m misuseError
	if errors.As(err, &m) {
		return cli.Usage
	}
	return cli.Fault
}

// misuseError is what the relay answered to a request that cannot be carried
// out as it stands.
type misuseError string

func (m misuseError) Error() string { return string(m) }

// Get asks the running relay; values without text are left out.
func (v *Verb) Get(path string, values url.Values, out any) error {
	for k, all := range values {
		if len(all) == 0 || all[0] == "" {
			values.Del(k)
		}
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	return v.ask(http.MethodGet, path, nil, out)
}

// act has the running relay do something.
func (v *Verb) act(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return v.ask(http.MethodPost, path, bytes.NewReader(body), out)
}

// askTimeout bounds one command.
const askTimeout = time.Minute

func (v *Verb) ask(method, path string, body io.Reader, out any) error {
	socket := v.socket
	if socket == "" {
		var err error
		if socket, err = config.SocketOf(cli.ConfigPath(*v.config)); err != nil {
			return err
		}
	}
	client := &http.Client{Timeout: askTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequest(method, "http://relay"+path, body)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return fmt.Errorf("no relay answers on %s: %w; is it running, and are you its user or root?", socket, err)
	}
	defer res.Body.Close()
	return readAnswer(res, out)
}

// maxAnswer is the most that a command reads.
const maxAnswer = 256 << 20

func readAnswer(res *http.Response, out any) error {
	d := json.NewDecoder(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode == http.StatusOK {
		if out == nil {
			return nil
		}
		if err := d.Decode(out); err != nil {
			return fmt.Errorf("read the relay's answer: %w", err)
		}
		return nil
	}
	var problem struct{ Error string }
	if d.Decode(&problem) != nil || problem.Error == "" {
		problem.Error = "the relay answered " + res.Status
	}
	if res.StatusCode == http.StatusBadRequest {
		return misuseError(problem.Error)
	}
	return errors.New(problem.Error)
}

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
	table(w)
	if err := w.Flush(); err != nil {
		return v.Fail(err)
	}
	return cli.OK
}
