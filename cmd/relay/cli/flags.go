package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"postern/internal/text"
	"time"
)

// ParseFlags returns false with the exit status when the verb is to end. What
// is wrong is said in one line.
func ParseFlags(f *flag.FlagSet, args []string) (status int, ok bool) {
	status, ok = ParseOpenFlags(f, args)
	if ok && f.NArg() > 0 {
		fmt.Fprintf(f.Output(), "%s: unexpected argument %q; run \"%s -h\" for the flags\n", f.Name(), f.Arg(0), f.Name())
		return Usage, false
	}
	return status, ok
}

// ParseOpenFlags is ParseFlags for a command that takes further arguments.
func ParseOpenFlags(f *flag.FlagSet, args []string) (status int, ok bool) {
	w := f.Output()
	f.SetOutput(io.Discard) // the flag set would print the usage with each error
	err := f.Parse(args)
	f.SetOutput(w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		showHelp(f)
		return OK, false
	case err != nil:
		fmt.Fprintf(w, "%s: %v; run \"%s -h\" for the flags\n", f.Name(), err, f.Name())
		return Usage, false
	}
	return OK, true
}

// DurationFlag reads a duration as the configuration writes it.
func DurationFlag(d *time.Duration) func(string) error {
	return func(s string) (err error) {
		*d, err = text.ParseDuration(s)
		return err
	}
}
