package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

// startControl serves a page that says who asks, and returns a client and the socket's
// path.
func startControl(t *testing.T) (*http.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	s := ControlServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, By(r.Context())) }), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}, DisableKeepAlives: true}}, path
}

func TestControlSocketKnowsWhoAsks(t *testing.T) {
	client, _ := startControl(t)
	res, err := client.Get("http://control/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	me, err := user.Current()
	if err != nil || string(b) != me.Username {
		t.Errorf("%s, want %s, %v", b, me.Username, err)
	}
}

func TestControlSocketIsPrivateAndExclusive(t *testing.T) {
	_, path := startControl(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v (%v), want 0600", info.Mode(), err)
	}
	if _, err := ListenControl(path); !errors.Is(err, ErrControlInUse) {
		t.Errorf("second listener: %v, want ErrControlInUse", err)
	}
}

func TestControlSocketLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket stays after Close: %v", err)
	}
}
