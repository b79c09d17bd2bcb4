package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/smtptest"
)

// slowLog takes its time for each write.
type slowLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *slowLog) Write(p []byte) (int, error) {
	for range 20_000 {
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// When serve returns, the process ends: the last line must be out by then.
func TestLastLogLinesAreWrittenBeforeTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.toml")
	writeFile(t, path, basic(smtptest.Start(t, smtptest.Options{}), ""))
	file, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var log slowLog
	n, err := startNode(cli.IO{Out: io.Discard, Err: &log}, file)
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	obey(n, path, signals)
	log.mu.Lock()
	defer log.mu.Unlock()
	if text := log.b.String(); !strings.HasSuffix(text, "msg=stopped\n") {
		t.Errorf("log ends without its last line:\n%s", text)
	}
}
