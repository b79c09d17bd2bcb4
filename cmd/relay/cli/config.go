package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"

	"postern/internal/config"
)

// ConfigEnv names the configuration where a command does not; without it the
// file is config.DefaultPath.
const ConfigEnv = "POSTERN_CONFIG"

// ConfigFlag adds -config. what says which file is meant.
func ConfigFlag(f *flag.FlagSet, what string) *string {
	return f.String("config", "", fmt.Sprintf("configuration `file`%s; otherwise $%s, else %s", what, ConfigEnv, config.DefaultPath))
}

// ConfigPath is the configuration that a flag names, else the environment, else
// the usual one.
func ConfigPath(named string) string { return cmp.Or(named, os.Getenv(ConfigEnv), config.DefaultPath) }

// OwnConfig is ConfigPath where that was named, or the usual file is there; ""
// otherwise. It is for commands that can do without.
func OwnConfig(named string) string {
	path := ConfigPath(named)
	if _, err := os.Stat(path); path == config.DefaultPath && err != nil {
		return ""
	}
	return path
}

// ParseConfig reads the flags of a command that also takes the configuration as
// its one argument; path is the file to read.
func ParseConfig(f *flag.FlagSet, named *string, args []string) (path string, status int, ok bool) {
	words, status, ok := ParseWords(f, args, 1)
	switch {
	case !ok:
		return "", status, false
	case len(words) == 0:
		return ConfigPath(*named), 0, true
	case *named != "":
		fmt.Fprintf(f.Output(), "%s: %q and -config name two configurations; keep one\n", f.Name(), words[0])
		return "", Usage, false
	}
	return words[0], 0, true
}

// ParseWords reads flags and up to most other words, wherever they stand among
// the flags; ok is false when the command has ended with status.
func ParseWords(f *flag.FlagSet, args []string, most int) (words []string, status int, ok bool) {
	for {
		if status, ok := ParseOpenFlags(f, args); !ok {
			return nil, status, false
		}
		if f.NArg() == 0 {
			return words, 0, true
		}
		words = append(words, f.Arg(0))
		args = f.Args()[1:]
		if len(words) > most {
			fmt.Fprintf(f.Output(), "%s: %q is one word too many; run \"%s -h\"\n", f.Name(), words[most], f.Name())
			return nil, Usage, false
		}
	}
}

// LoadChecked reads a configuration by load and prints what is wrong with it, a
// line each, or when nothing is, what is doubtful in it; ok says that it can be
// used.
func LoadChecked(io IO, path string, load func(string) (*config.File, []config.Problem, error)) (file *config.File, ok bool) {
	file, warnings, err := load(path)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(io.Err, p)
		}
		return nil, false
	case err != nil:
		fmt.Fprintln(io.Err, err)
		return nil, false
	}
	for _, p := range warnings {
		p.Text = "warning: " + p.Text
		fmt.Fprintln(io.Err, p)
	}
	return file, true
}
