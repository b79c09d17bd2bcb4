package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

type order struct {
	Name string `json:"name"`
}

// startControl serves a control with one query and one act, and returns a
// client, the socket's path and the log.
func startControl(t *testing.T) (*http.Client, string, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c := NewControl(slog.New(slog.NewTextHandler(&log, nil)))
	c.Query("/thing", func(_ context.Context, get func(string) string) (any, error) {
		if get("name") == "" {
			return nil, Misuse("name is missing")
		}
		return order{get("name")}, nil
	})
	Act(c, "/do", func(_ context.Context, in order) (any, error) {
		if in.Name == "bad" {
			return nil, errors.New("store is away")
		}
		return in, nil
	})
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Server()
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
	}, DisableKeepAlives: true}}, path, &log
}

func TestControlAnswersInJSON(t *testing.T) {
	client, _, log := startControl(t)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"a query", "GET", "/thing?name=x", "", 200, `{"name":"x"}`},
		{"a query that lacks something", "GET", "/thing", "", 400, `{"error":"name is missing"}`},
		{"an act", "POST", "/do", `{"name":"y"}`, 200, `{"name":"y"}`},
		{"an act that fails", "POST", "/do", `{"name":"bad"}`, 500, `{"error":"store is away"}`},
		{"an act with a key that nobody knows", "POST", "/do", `{"colour":"y"}`, 400, "unknown field"},
		{"an act by GET", "GET", "/do", "", 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, _ := http.NewRequest(c.method, "http://control"+c.path, strings.NewReader(c.body))
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.status || !strings.Contains(string(b), c.want) {
				t.Errorf("%d %s, want %d %s", res.StatusCode, b, c.status, c.want)
			}
		})
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if want := "msg=operator act=do by=" + me.Username; !strings.Contains(log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, log)
	}
}

func TestControlSocketIsPrivateAndExclusive(t *testing.T) {
	_, path, _ := startControl(t)
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
