package scan

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// splits are the ways in which a message can lie in memory and in a file.
func splits(t *testing.T, whole []byte) map[string]Content {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "body"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	third, last := len(whole)/3, len(whole)-len(whole)/3
	f.Write(whole[last:])
	f.Write([]byte("of the message before this one"))
	return map[string]Content{
		"one piece":       {Head: whole},
		"pieces":          {Head: whole[:third], Chunks: [][]byte{whole[third:third], whole[third:last], whole[last:]}},
		"file":            {Head: whole[:third], Chunks: [][]byte{whole[third:last]}, File: f, FileSize: int64(len(whole) - last)},
		"file, no header": {Chunks: [][]byte{whole[:last]}, File: f, FileSize: int64(len(whole) - last)},
		"an empty file":   {Head: whole, File: f},
	}
}

func TestScannersSeeTheWholeMessageHoweverItLies(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789abcdef0123456789abcd\r\n"), 9000)
	for name, content := range splits(t, whole) {
		t.Run(name, func(t *testing.T) {
			m := message("")
			m.Content = content
			for kind, seen := range everyWayIn(t, m) {
				if !bytes.Equal(seen, whole) {
					t.Errorf("%s saw %d octets, want these %d", kind, len(seen), len(whole))
				}
			}
			if d, err := content.digest(); err != nil || d != digestOf(whole) {
				t.Errorf("digest %x, %v", d, err)
			}
		})
	}
}

func digestOf(b []byte) digest {
	d, _ := (&Content{Head: b}).digest()
	return d
}

// everyWayIn asks a clamd and rspamd by TCP, by a Unix socket and by TLS, and
// returns what each saw.
func everyWayIn(t *testing.T, m *Message) map[string][]byte {
	t.Helper()
	seen := make(chan []byte, 1)
	av := clamdServer(t, always(fresh), func(c net.Conn, b []byte) { seen <- b; io.WriteString(c, "stream: OK\x00") })
	spam := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen <- b
		io.WriteString(w, `{"action":"no action","is_skipped":false}`)
	})
	plain, secure := httptest.NewServer(spam), httptest.NewTLSServer(spam)
	defer plain.Close()
	defer secure.Close()
	socket := httptest.NewUnstartedServer(spam)
	var err error
	if socket.Listener, err = net.Listen("unix", filepath.Join(t.TempDir(), "s")); err != nil {
		t.Fatal(err)
	}
	socket.Start()
	defer socket.Close()
	got := map[string][]byte{}
	ask := func(name string, a asker) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if v, err := a.ask(ctx, m); err != nil || v.Class != Clean {
			t.Fatalf("%s: %+v, %v", name, v, err)
		}
		got[name] = <-seen
	}
	ask("clamd", &clamd{target: target{network: "tcp", address: av.address()}})
	for name, address := range map[string]string{"rspamd": plain.URL, "rspamd by a socket": "unix:" + socket.Listener.Addr().String()} {
		c := Config{Rspamd: address}
		way, err := c.target()
		if err != nil {
			t.Fatal(err)
		}
		ask(name, &rspamd{target: way})
	}
	got["rspamd by TLS"] = overTLS(t, m, secure, seen)
	return got
}

// overTLS sends what rspamd would be sent to a server whose certificate nobody
// has signed.
func overTLS(t *testing.T, m *Message, s *httptest.Server, seen chan []byte) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &bound{Conn: c, left: maxAnswer, stop: func() bool { return true }}
	defer b.Close()
	r := &rspamd{target: target{host: "localhost"}}
	if err := b.send(m.Content.pieces(r.head(m))); err != nil {
		t.Fatal(err)
	}
	if m.Content.File != nil {
		if _, err := io.Copy(b, m.Content.rest()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := http.ReadResponse(bufio.NewReader(b), nil); err != nil {
		t.Fatal(err)
	}
	return <-seen
}
