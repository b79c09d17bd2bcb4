package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// storeRounds writes every round in the form of Go's benchmarks, for benchstat,
// if that was asked for.
func (o *options) storeRounds(rep *report) error {
	if o.gobench == "" {
		return nil
	}
	return os.WriteFile(o.gobench, rep.gobench(), 0o644)
}

// gobench is a line for each round of each side of the rows that have rounds; the
// base is the floor, or the relay otherwise configured.
func (r *report) gobench() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "goversion: %s\ncpu: %s\ncores: %d\n", r.Go, r.CPU, r.Cores)
	for _, row := range r.Rows {
		name := "BenchmarkRow/" + strings.NewReplacer(" ", "_", "/", "|").Replace(row.Row)
		for _, m := range row.Relay.Rounds {
			m.gobench(&b, name+"/side=relay")
		}
		for _, m := range row.Floor.Rounds {
			m.gobench(&b, name+"/side=base")
		}
	}
	return b.Bytes()
}

func (r round) gobench(b *bytes.Buffer, name string) {
	fmt.Fprintf(b, "%s %d %.3f msg/s %.6f cpu-ms/msg %.6f p50-ms\n", name, r.Messages, r.Rate, r.CPU, r.P50)
}
