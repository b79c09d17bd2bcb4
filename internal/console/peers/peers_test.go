package peers

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/api"
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

// TestSearchOfASilentPeerEnds when nobody waits for it any more: its connection does not
// stay open.
func TestSearchOfASilentPeerEnds(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	file := filepath.Join(t.TempDir(), "peer.token")
	if err := os.WriteFile(file, []byte("pst_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ps := New(time.Now)
	ps.Use(map[string]access.Peer{"mx2": {Server: "http://" + deaf.Addr().String(), TokenFile: file}})
	ended := make(chan error, 1)
	go func() {
		c, err := deaf.Accept()
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			_, err = io.Copy(io.Discard, c) // until the other side leaves
		}
		ended <- err
	}()
	if a := ps.Events(api.EventsQuery{})[0]; a.Err == nil {
		t.Error("a deaf peer has answered")
	}
	if err := <-ended; err != nil {
		t.Errorf("the connection stays: %v", err)
	}
}

// TestPeerInOtherHands fills neither memory nor page: with objects of two octets, pages
// without end, or any number of reasons.
func TestPeerInOtherHands(t *testing.T) {
	var answers sync.Map // by path; a request that was given up may still be answered
	answers.Store("/status", `{}`)
	answers.Store("/listings", `{"items":[]}`)
	answers.Store("/providers", `{"items":[]}`)
	var asked atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if answer, ok := answers.Load(strings.TrimPrefix(r.URL.Path, api.Root)); ok {
			io.WriteString(w, answer.(string))
		}
	}))
	defer node.Close()
	file := filepath.Join(t.TempDir(), "peer.token")
	if err := os.WriteFile(file, []byte("pst_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func() *Peers {
		ps := New(time.Now)
		ps.Use(map[string]access.Peer{"mx2": {Server: node.URL, TokenFile: file}})
		return ps
	}
	many := strings.Repeat("{},", 200_000) + "{}"
	answers.Store("/events", `{"items":[`+many+`]}`)
	if a := ask().Events(api.EventsQuery{})[0]; a.Err == nil {
		t.Errorf("%d events are taken", len(a.Value.Items))
	}
	answers.Store("/events", `{"items":[]}`+strings.Repeat(" ", 8<<20))
	if a := ask().Events(api.EventsQuery{})[0]; a.Err == nil {
		t.Error("an answer of over 8 MiB is taken")
	}
	for name, rows := range map[string]string{"an empty page": "", "pages": `{"id":1}`} {
		asked.Store(0)
		answers.Store("/listings", `{"items":[`+rows+`],"next":"x"}`)
		if a := ask().States()[0]; rows == "" && a.Err == nil || len(a.Value.Listings) > maxTold || asked.Load() > maxListed+5 {
			t.Errorf("%s: %d listings of %d requests, %v", name, len(a.Value.Listings), asked.Load(), a.Err)
		}
	}
	answers.Store("/listings", `{"items":[]}`)
	answers.Store("/status", `{"reasons":[`+many[:3*5000]+`{}]}`)
	if a := ask().States()[0]; a.Err != nil || len(a.Value.Status.Reasons) != maxTold {
		t.Errorf("%d reasons, %v", len(a.Value.Status.Reasons), a.Err)
	}
}
