package recipients

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/secret"
)

func loadSecret(t *testing.T, path string) (*Secret, error) {
	t.Helper()
	s, err := LoadSecret(path, nil)
	if err != nil && strings.Contains(err.Error(), s.held.Load().current.text()) {
		t.Error("the error tells the secret")
	}
	return s, err
}

// hashesOf are those of one recipient at this moment.
func hashesOf(s *Secret) Hashes { return s.Hashes("a@dest.example", s.now()) }

// TestSecretIsKeptAndPrivate: it is the same after a restart, and nobody else's
// to read.
func TestSecretIsKeptAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.secret")
	first, err := loadSecret(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := loadSecret(t, path)
	if err != nil || hashesOf(again) != hashesOf(first) {
		t.Errorf("another secret after a restart, error %v", err)
	}
	if hashesOf(NewSecret(nil)).Distinct == hashesOf(first).Distinct {
		t.Error("two secrets give one hash")
	}
	// One that others could read is replaced; who was counted under it is known.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	next, err := loadSecret(t, path)
	if !errors.Is(err, secret.ErrOpen) {
		t.Errorf("error %v", err)
	}
	if h := hashesOf(next); h.Distinct == hashesOf(first).Distinct || h.Former != hashesOf(first).Distinct {
		t.Error("a secret that others can read is in force, or forgotten")
	}
	if again, err := loadSecret(t, path); err != nil || hashesOf(again) != hashesOf(next) {
		t.Errorf("the new one is not kept: %v", err)
	}
}

// TestSecretThatIsDamagedIsReplaced: it is set aside, and said so.
func TestSecretThatIsDamagedIsReplaced(t *testing.T) {
	for _, text := range []string{"", "{}", `{"secret":"00"}`, "\x00\xff", `{"secret":"` + strings.Repeat("zz", 32) + `"}`} {
		path := filepath.Join(t.TempDir(), "limits.secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := loadSecret(t, path)
		if err == nil {
			t.Errorf("%q is taken for a secret", text)
		}
		if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
			t.Errorf("%q is not set aside", text)
		}
		if again, err := loadSecret(t, path); err != nil || hashesOf(again) != hashesOf(s) {
			t.Errorf("the new one is not kept: %v", err)
		}
	}
}

// TestSecretOfBeforeEnds: other hashes are looked up for as long as anything can
// count under them, and no longer.
func TestSecretOfBeforeEnds(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := NewSecret(func() time.Time { return now })
	old := hashesOf(s)
	if old.Plain != plainHash("a@dest.example") || old.Former != 0 {
		t.Errorf("at first %+v", old)
	}
	now = now.Add(Longest - time.Minute)
	s.take(drawKey())
	if h := hashesOf(s); h.Plain == 0 || h.Former != old.Distinct || h.Distinct == old.Distinct {
		t.Errorf("after another came %+v", h)
	}
	now = now.Add(time.Minute)
	if h := hashesOf(s); h.Plain != 0 || h.Former == 0 {
		t.Errorf("once nothing without a secret counts %+v", h)
	}
	now = now.Add(Longest)
	if h := hashesOf(s); h.Former != 0 {
		t.Errorf("in the end %+v", h)
	}
}
