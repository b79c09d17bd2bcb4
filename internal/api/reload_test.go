package api

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/internal/audit"
)

// TestReloadReadsTheFileOnce, and a dry run only looks at it.
func TestReloadReadsTheFileOnce(t *testing.T) {
	looked, read, log := 0, 0, slog.New(slog.DiscardHandler)
	lines := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"), audit.Options{Log: log})
	defer lines.Close()
	a := New(Parts{Audit: lines, Log: log, Now: time.Now, Reload: func() admin.ReloadStatus { read++; return admin.ReloadStatus{OK: true} },
		CheckReload: func() admin.ReloadStatus { looked++; return admin.ReloadStatus{OK: true} }})
	ctx := access.With(t.Context(), access.Caller{Name: "root", Role: access.Admin, Door: access.Socket})
	if done, err := a.Reload(ctx, Reload{Act{Reason: "x"}}); err != nil || !done.Result.OK || looked != 0 || read != 1 {
		t.Errorf("%+v %v: looked %d times, read %d times", done, err, looked, read)
	}
	if done, err := a.Reload(ctx, Reload{Act{Reason: "x", DryRun: true}}); err != nil || !done.Result.OK || looked != 1 || read != 1 {
		t.Errorf("%+v %v: looked %d times, read %d times", done, err, looked, read)
	}
}
