package peers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/access"
)

// TestTokensAreReadAnew: a token that was replaced in its file holds from the next reload on,
// as the old one ends.
func TestTokensAreReadAnew(t *testing.T) {
	good := "pst_old"
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"version":"7","items":[]}`)
	}))
	defer node.Close()
	file := filepath.Join(t.TempDir(), "peer.token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ps, peers := New(time.Now), map[string]access.Peer{"mx2": {Server: node.URL, TokenFile: file}}
	write("pst_old")
	ps.Use(peers)
	if a := ps.States()[0]; a.Err != nil || a.Value.Status.Version != "7" {
		t.Fatalf("%+v", a)
	}
	good = "pst_new"
	ps.Use(peers)
	if a := ps.States()[0]; a.Err == nil || a.Value.Status.Version != "7" {
		t.Errorf("with the old token: %+v", a)
	}
	write("pst_new")
	ps.Use(peers)
	if a := ps.States()[0]; a.Err != nil {
		t.Errorf("with the new token: %v", a.Err)
	}
}
