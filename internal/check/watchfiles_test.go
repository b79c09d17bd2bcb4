package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/reputation/identity"
)

// TestFilesOfTheWatchAreTried, before a start or a reload fails on them.
func TestFilesOfTheWatchAreTried(t *testing.T) {
	f := &config.File{}
	if all := tryWatchFiles(f); len(all) > 0 {
		t.Errorf("nothing is named: %+v", all)
	}
	f.Outlier.ASTable = filepath.Join(t.TempDir(), "as.tsv")
	for text, want := range map[string]identity.Status{"192.0.2.0/24 64500\n": identity.Pass, "192.0.2.0/24\n": identity.Fail} {
		if err := os.WriteFile(f.Outlier.ASTable, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all := tryWatchFiles(f)
		if len(all) != 1 || all[0].Status != want || want == identity.Fail && !strings.Contains(all[0].Seen, "line 1") {
			t.Errorf("%q: %+v", text, all)
		}
	}
}
