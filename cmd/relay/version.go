package main

import (
	"fmt"
	"runtime"
)

// version is set by the linker: make build names the commit.
var version = "development"

func runVersion(io stdio, _ []string) int {
	fmt.Fprintf(io.out, "postern %s, %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
