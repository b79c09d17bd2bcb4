//go:build !openssl && linux

package dkimsign

import (
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"testing"
)

// TestOpenSSLBuildPassesTheSameTests runs the tests of this package once more
// with the signer that is off by default.
func TestOpenSSLBuildPassesTheSameTests(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package again")
	}
	if _, err := os.Stat("/usr/include/openssl/evp.h"); err != nil {
		t.Skip("Debian package libssl-dev is not installed")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("Debian package gcc is not installed")
	}
	args := []string{"test", "-tags", "openssl", "-count=1"}
	if underRace() { // what is already built then serves
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
