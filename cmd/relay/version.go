package main

import (
	"fmt"
	"runtime"

	"postern/cmd/relay/cli"
	"postern/dkimsign"
)

// version is set by the linker: make build names the commit.
var version = "development"

func runVersion(io cli.IO, _ []string) int {
	fmt.Fprintf(io.Out, "postern %s, %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if signers, err := dkimsign.Load(nil); err == nil {
		fmt.Fprintln(io.Out, "RSA signatures by", signers.RSASigner())
	}
	return cli.OK
}
