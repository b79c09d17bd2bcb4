package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// parseFlags returns false with the exit status when the verb is to end. What
// is wrong is said in one line.
func parseFlags(f *flag.FlagSet, args []string) (status int, ok bool) {
	status, ok = parseOpenFlags(f, args)
	if ok && f.NArg() > 0 {
		fmt.Fprintf(f.Output(), "%s: unexpected argument %q\n", f.Name(), f.Arg(0))
		return exitUsage, false
	}
	return status, ok
}

// parseOpenFlags is parseFlags for a command that takes further arguments.
func parseOpenFlags(f *flag.FlagSet, args []string) (status int, ok bool) {
	w := f.Output()
	f.SetOutput(io.Discard) // the flag set would print the usage with each error
	err := f.Parse(args)
	f.SetOutput(w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.Usage()
		return exitOK, false
	case err != nil:
		fmt.Fprintf(w, "%s: %v; run \"%s -h\" for the flags\n", f.Name(), err, f.Name())
		return exitUsage, false
	}
	return exitOK, true
}
