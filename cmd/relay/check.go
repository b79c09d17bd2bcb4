package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"

	"postern/config"
)

// runCheck says whether a configuration is good and what it means: problems
// or warnings on standard error, each with its place, then who may send what,
// as whom, by which way and how much.
func runCheck(io stdio, args []string) int {
	f := flag.NewFlagSet("relay check", flag.ContinueOnError)
	f.SetOutput(io.err)
	path := f.String("config", "", "configuration `file`")
	quiet := f.Bool("quiet", false, "print only problems and warnings")
	if status, ok := parseFlags(f, args); !ok {
		return status
	}
	if *path == "" {
		fmt.Fprintln(io.err, "relay check: -config is missing; name the configuration file")
		return exitUsage
	}
	file, ok := loadChecked(io, *path)
	if !ok {
		return exitFault
	}
	if *quiet {
		return exitOK
	}
	w := bufio.NewWriter(io.out)
	explain(w, file)
	if err := w.Flush(); err != nil {
		fmt.Fprintf(io.err, "relay check: print: %v\n", err)
		return exitFault
	}
	return exitOK
}

// loadChecked reads a configuration and prints what is wrong with it, a line
// each, or when nothing is, what is doubtful in it; ok says that it can be used.
func loadChecked(io stdio, path string) (file *config.File, ok bool) {
	file, warnings, err := config.Load(path)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(io.err, p)
		}
		return nil, false
	case err != nil:
		fmt.Fprintln(io.err, err)
		return nil, false
	}
	for _, p := range warnings {
		p.Text = "warning: " + p.Text
		fmt.Fprintln(io.err, p)
	}
	return file, true
}
