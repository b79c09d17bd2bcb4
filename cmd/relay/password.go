package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"postern/cmd/relay/cli"
	"postern/internal/auth"
	"postern/internal/secret"
)

// maxPassword is the longest password that hash-password takes, in octets: what
// fits into an AUTH line with room to spare.
const maxPassword = 1024

// runHashPassword prints the hash of a password for [user.NAME] in the
// configuration. The password comes from the terminal without echo, or from the
// standard input, which holds nothing else.
func runHashPassword(stdio cli.IO, args []string) int {
	f := flag.NewFlagSet("relay hash-password", flag.ContinueOnError)
	f.SetOutput(stdio.Err)
	bcrypt := f.Bool("bcrypt", false, "print a bcrypt hash instead of argon2id")
	if status, ok := cli.ParseFlags(f, args); !ok {
		return status
	}
	password, err := readPassword(stdio)
	if err != nil {
		fmt.Fprintf(stdio.Err, "relay hash-password: %v\n", err)
		return cli.Fault
	}
	text := ""
	if *bcrypt {
		text, err = auth.HashBcrypt(password)
	} else {
		text = auth.HashArgon2id(password)
	}
	if err != nil {
		fmt.Fprintf(stdio.Err, "relay hash-password: %v\n", err)
		return cli.Fault
	}
	fmt.Fprintln(stdio.Out, text)
	return cli.OK
}

func readPassword(stdio cli.IO) (string, error) {
	file, ok := stdio.In.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return readText(stdio.In)
	}
	first, err := ask(stdio.Err, file, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := ask(stdio.Err, file, "Again: ")
	if err == nil && first != second {
		err = errors.New("the two passwords differ; nothing was printed")
	}
	if err != nil {
		return "", err
	}
	return checkPassword(first)
}

func ask(w io.Writer, file *os.File, prompt string) (string, error) {
	fmt.Fprint(w, prompt)
	password, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(w)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(password), nil
}

// readText reads a password to the end of the input.
func readText(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 2*maxPassword))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	password, err := secret.Text(text)
	if err != nil {
		return "", fmt.Errorf("the password %w", err)
	}
	return checkPassword(password)
}

func checkPassword(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("the password is empty")
	case len(s) > maxPassword:
		return "", fmt.Errorf("the password is longer than %d octets", maxPassword)
	case strings.ContainsRune(s, 0):
		return "", errors.New("the password holds a NUL, which SASL PLAIN cannot carry")
	}
	return s, nil
}
