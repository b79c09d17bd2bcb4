package main

import (
	"os/exec"
	"runtime"
	"testing"
)

// TestMemoryOfAProgramIsItsOwn: what the benchmark has used before is not told as the
// memory of a program that it runs.
func TestMemoryOfAProgramIsItsOwn(t *testing.T) {
	const much = 256 << 20
	used := make([]byte, much)
	for i := 0; i < much; i += 1 << 12 {
		used[i] = 1
	}
	var f finder
	if _, err := f.run(exec.CommandContext(t.Context(), "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(used)
	if f.peak == 0 || f.peak > much/1024/4 {
		t.Errorf("a shell that counts takes %d KiB", f.peak)
	}
}
