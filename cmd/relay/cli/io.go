// Package cli holds what all commands share: the streams that a command reads
// and writes, exit statuses, how flags and the words among them are read, and how
// a command finds the configuration and the journal.
//
// A command is a function of IO and its arguments that returns its exit status:
//
//	func Count(io cli.IO, args []string) int {
//		f := flag.NewFlagSet("relay count", flag.ContinueOnError)
//		f.SetOutput(io.Err)
//		path := cli.ConfigFlag(f, " that names the journal")
//		words, status, ok := cli.ParseWords(f, args, 1)
//		if !ok {
//			return status
//		}
//		...
//		return cli.OK
//	}
package cli

import (
	"encoding/json"
	"fmt"
	"io"
)

// Exit statuses of every command.
const (
	OK      = 0
	Fault   = 1 // the work was tried and failed, or a check found faults
	Usage   = 2 // unknown command or flag, unreadable or wrong configuration
	Unknown = 3 // no check failed, but some could not be carried out
)

// IO is what a command reads and writes; tests give it buffers.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// PrintJSON writes v on one line.
func PrintJSON(io IO, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fmt.Fprintf(io.Err, "relay: %v\n", err)
		return
	}
	fmt.Fprintf(io.Out, "%s\n", b)
}

// Subcommands runs the one of all that the first word of args names; order is
// how the usage lists them.
func Subcommands(io IO, name string, args []string, all map[string]func(IO, []string) int, order ...string) int {
	usage := groupHelp(name, order)
	if len(args) > 0 {
		if run, ok := all[args[0]]; ok {
			return run(io, args[1:])
		}
		switch args[0] {
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.Out, usage)
			return OK
		}
		fmt.Fprintf(io.Err, "relay %s: unknown command %q\n", name, args[0])
	}
	fmt.Fprint(io.Err, usage)
	return Usage
}
