package main

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
	"strings"
	"text/tabwriter"
	"time"

	"postern/internal/config"
)

// controlVerb is the flags that every command on the control socket has.
type controlVerb struct {
	io     stdio
	flags  *flag.FlagSet
	config *string
	socket string
	json   bool
}

// newControlVerb makes the flags of a command, such as "limits show".
func newControlVerb(io stdio, name string) *controlVerb {
	v := &controlVerb{io: io, flags: flag.NewFlagSet("relay "+name, flag.ContinueOnError)}
	v.flags.SetOutput(io.err)
	v.config = configFlag(v.flags, " of the running relay")
	v.flags.StringVar(&v.socket, "socket", "", "its control socket, instead of -config; a `path`")
	v.flags.BoolVar(&v.json, "json", false, "print JSON")
	return v
}

// parse reads flags and up to max other words, wherever they stand among the
// flags; ok is false when the command has ended with status.
func (v *controlVerb) parse(args []string, max int) (words []string, status int, ok bool) {
	return parseWords(v.flags, args, max)
}

func (v *controlVerb) misuse(format string, args ...any) int {
	fmt.Fprintf(v.io.err, "%s: %s\n", v.flags.Name(), fmt.Sprintf(format, args...))
	return exitUsage
}

func (v *controlVerb) fail(err error) int {
	fmt.Fprintf(v.io.err, "%s: %v\n", v.flags.Name(), err)
	var m misuseError
	if errors.As(err, &m) {
		return exitUsage
	}
	return exitFault
}

// misuseError is what the relay answered to a request that cannot be carried
// out as it stands.
type misuseError string

func (m misuseError) Error() string { return string(m) }

// get asks the running relay; values without text are left out.
func (v *controlVerb) get(path string, values url.Values, out any) error {
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
func (v *controlVerb) act(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return v.ask(http.MethodPost, path, bytes.NewReader(body), out)
}

// askTimeout bounds one command.
const askTimeout = time.Minute

func (v *controlVerb) ask(method, path string, body io.Reader, out any) error {
	socket := v.socket
	if socket == "" {
		var err error
		if socket, err = config.SocketOf(configPath(*v.config)); err != nil {
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

// print writes v as JSON where that was asked for, and else calls table.
func (v *controlVerb) print(value any, table func(w io.Writer)) int {
	if v.json {
		e := json.NewEncoder(v.io.out)
		e.SetIndent("", "  ")
		if err := e.Encode(value); err != nil {
			return v.fail(err)
		}
		return exitOK
	}
	w := tabwriter.NewWriter(v.io.out, 0, 8, 2, ' ', 0)
	table(w)
	if err := w.Flush(); err != nil {
		return v.fail(err)
	}
	return exitOK
}

// subcommands runs the one that args name.
func subcommands(io stdio, name string, args []string, all map[string]func(stdio, []string) int, order ...string) int {
	usage := "usage: relay " + name + " " + strings.Join(order, "|") + " [flags]\n"
	if len(args) > 0 {
		if run, ok := all[args[0]]; ok {
			return run(io, args[1:])
		}
		switch args[0] {
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.out, usage)
			return exitOK
		}
		fmt.Fprintf(io.err, "relay %s: unknown command %q\n", name, args[0])
	}
	fmt.Fprint(io.err, usage)
	return exitUsage
}
