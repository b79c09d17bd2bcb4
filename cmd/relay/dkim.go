package main

import (
	"crypto"
	"errors"
	"flag"
	"fmt"
	"io/fs"

	"postern/cmd/relay/cli"
	"postern/dkimsign"
	"postern/internal/check"
	"postern/reputation/identity"
)

const dkimUsage = `usage: relay dkim keygen -domain D -selector S [-type rsa|ed25519] [-bits 2048] -out FILE
       relay dkim record -domain D -selector S -key FILE [-value]
       relay dkim rotate [-type rsa|ed25519] [-wait 1h] [-config FILE] DOMAIN
`

func runDKIM(io cli.IO, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "keygen":
			return runKeygen(io, args[1:])
		case "record":
			return runRecord(io, args[1:])
		case "rotate":
			return runRotate(io, args[1:])
		case "-h", "-help", "--help", "help":
			fmt.Fprint(io.Out, dkimUsage)
			return cli.OK
		}
		fmt.Fprintf(io.Err, "relay dkim: unknown command %q\n", args[0])
	}
	fmt.Fprint(io.Err, dkimUsage)
	return cli.Usage
}

// runKeygen makes a key file and prints the record to publish.
func runKeygen(io cli.IO, args []string) int {
	var domain, selector, out string
	kind, bits := dkimsign.RSA, 2048
	f := dkimFlags(io, "keygen", &domain, &selector)
	f.TextVar(&kind, "type", kind, "`kind` of key: rsa or ed25519")
	f.IntVar(&bits, "bits", bits, "size of an RSA key")
	f.StringVar(&out, "out", "", "`file` to write, mode 0600; it must not exist")
	if status, ok := cli.ParseFlags(f, args); !ok {
		return status
	}
	if problem := dkimsign.CheckName(domain, selector); problem != "" {
		return dkimMisuse(io, problem)
	}
	if out == "" {
		return dkimMisuse(io, "-out is missing; name the file to write")
	}
	key, err := dkimsign.NewKey(kind, bits)
	if err != nil {
		return dkimMisuse(io, err.Error())
	}
	err = dkimsign.WriteKey(out, key)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(io.Err, "relay dkim: %s exists and was left alone; name another file, and another selector for a new key\n", out)
		return cli.Fault
	}
	if err != nil {
		fmt.Fprintf(io.Err, "relay dkim: write key: %v\n", err)
		return cli.Fault
	}
	return printRecord(io, domain, selector, key)
}

// runRecord prints the record of one key file.
func runRecord(io cli.IO, args []string) int {
	var domain, selector, file string
	f := dkimFlags(io, "record", &domain, &selector)
	f.StringVar(&file, "key", "", "private key `file`")
	value := f.Bool("value", false, "print the value of the TXT record alone, in one line and without quotes, as DNS panels want it")
	if status, ok := cli.ParseFlags(f, args); !ok {
		return status
	}
	if file == "" {
		return dkimMisuse(io, "-key is missing; name the key file")
	}
	if problem := dkimsign.CheckName(domain, selector); problem != "" {
		return dkimMisuse(io, problem)
	}
	key, err := dkimsign.ReadKey(file)
	if err != nil {
		fmt.Fprintf(io.Err, "relay dkim: %v\n", err)
		return cli.Fault
	}
	if dkimsign.IsWeak(key) {
		fmt.Fprintf(io.Err, "relay dkim: warning: %s is an RSA key of fewer than 2048 bits, which receivers trust less and less; it signs only with allow_weak = true\n", file)
	}
	if *value {
		return printValue(io, domain, selector, key)
	}
	return printRecord(io, domain, selector, key)
}

func dkimFlags(io cli.IO, name string, domain, selector *string) *flag.FlagSet {
	f := flag.NewFlagSet("relay dkim "+name, flag.ContinueOnError)
	f.SetOutput(io.Err)
	f.StringVar(domain, "domain", "", "`domain` that signs, as in d=")
	f.StringVar(selector, "selector", "", "`name` of the key, as in s=")
	return f
}

func dkimMisuse(io cli.IO, problem string) int {
	fmt.Fprintf(io.Err, "relay dkim: %s\n", problem)
	return cli.Usage
}

// printRecord prints the record of a key once it reads back as that key.
func printRecord(io cli.IO, domain, selector string, key crypto.Signer) int {
	return printPublishable(io, domain, selector, key, dkimsign.ZoneLine)
}

func printValue(io cli.IO, domain, selector string, key crypto.Signer) int {
	return printPublishable(io, domain, selector, key, func(_, value string) string { return value })
}

func printPublishable(io cli.IO, domain, selector string, key crypto.Signer, form func(name, value string) string) int {
	name, value := dkimsign.Record(domain, selector, key)
	line := dkimsign.ZoneLine(name, value)
	if !identity.IsPublishable(line, check.Record(domain, selector, value)) {
		fmt.Fprintf(io.Err, "relay dkim: the record of %s cannot be published: receivers would not read it as this key\n", name)
		return cli.Fault
	}
	fmt.Fprintln(io.Out, form(name, value))
	return cli.OK
}
