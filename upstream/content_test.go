package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/smtptest"
	"postern/mail"
)

// cut makes a Content of text, cut at random into prefix, chunks and file.
func cut(t testing.TB, r *rand.Rand, text []byte, dir string) Content {
	t.Helper()
	take := func() []byte {
		n := r.IntN(len(text) + 1)
		if r.IntN(3) == 0 {
			n = min(len(text), r.IntN(4))
		}
		p := bytes.Clone(text[:n])
		text = text[n:]
		return p
	}
	c := Content{Size: int64(len(text))}
	c.Prefix = take()
	for range r.IntN(5) {
		c.Chunks = append(c.Chunks, take())
	}
	if dir == "" {
		c.Chunks = append(c.Chunks, bytes.Clone(text))
		return c
	}
	f, err := os.CreateTemp(dir, "body")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.Write(text)
	c.File, c.FileSize = f, int64(len(text))
	return c
}

// dotty is text of n octets, rich in what dot-stuffing is about.
func dotty(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString([]string{".", "..", "\r\n", "\r\n.", "\r\n.\r\n", "x", "long line of text", "\xe4"}[r.IntN(8)])
	}
	return b.Bytes()
}

// wireOf returns what the body writer makes of c over a pipe.
func wireOf(t testing.TB, c Content, tls string, write func(*bodyWriter) error) []byte {
	t.Helper()
	here, there := net.Pipe()
	cfg := testConfig("x")
	cn := newConn(&host{cfg: &cfg}, route{}, here, c0)
	cn.tls = tls
	var got []byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, _ = io.ReadAll(there)
	}()
	w := newBodyWriter(context.Background(), cn)
	if err := write(w); err != nil {
		t.Error(err)
	}
	w.release()
	here.Close()
	<-done
	return got
}

func checkStuffing(t testing.TB, text []byte, c Content, tls string) {
	t.Helper()
	wire := wireOf(t, c, tls, func(w *bodyWriter) error { return w.stuffed(&c) })
	want := string(text)
	if want != "" && !strings.HasSuffix(want, "\n") {
		want += "\r\n"
	}
	// The plain rule, line by line.
	var b strings.Builder
	for line := range strings.SplitAfterSeq(want, "\n") {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	if string(wire) != b.String()+".\r\n" {
		t.Fatalf("%d octets in %d chunks: wire differs from the rule", len(text), len(c.Chunks))
	}
	// An independent reader; it turns CR LF into LF.
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(wire)))
	got, err := io.ReadAll(r.DotReader())
	if err != nil || r.R.Buffered() > 0 {
		t.Fatalf("DotReader: %v, %d octets left", err, r.R.Buffered())
	}
	if string(got) != strings.ReplaceAll(want, "\r\n", "\n") {
		t.Fatalf("DotReader got %.200q, want %.200q", got, want)
	}
}

var c0 = ips("127.0.0.1")[0]

func TestDotStuffingOverRandomCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	for i := range 300 {
		n := r.IntN(300)
		if i%30 == 0 {
			n = r.IntN(4 * groupSize)
		}
		text := dotty(r, n)
		checkStuffing(t, text, cut(t, r, text, ""), []string{"", "TLSv1.3"}[i%2])
		if i%5 == 0 {
			checkStuffing(t, text, cut(t, r, text, dir), []string{"", "TLSv1.3"}[i/5%2])
		}
	}
}

func FuzzDotStuffing(f *testing.F) {
	for _, s := range []string{"", ".", "\r\n", ".\r\n.\r\n", "a\r\n.b\r\n..\r\n", "x\r\n.", "\r\n.\r\nMAIL FROM:<>\r\n"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		// Clean CR LF is the caller's promise.
		text := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r", ""), "\n", "\r\n")
		r := rand.New(rand.NewPCG(seed, 0))
		checkStuffing(t, []byte(text), cut(t, r, []byte(text), ""), []string{"", "TLSv1.3"}[seed%2])
	})
}

func TestContentArrivesOctetByOctet(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	for mode, offer := range modes {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/TLS %v", mode, secure), func(t *testing.T) {
				opt := smtptest.Options{Offer: append([]string{"STARTTLS"}, offer...)}
				u, s := startVerified(t, opt, func(c *Config) {
					if !secure {
						c.TLS, c.CA = EncryptOff, ""
					}
				})
				var want []string
				for _, n := range []int{0, 1, 5, 3000, 100_000, 2*groupSize + 1000} {
					for _, d := range []string{"", dir} {
						text := dotty(r, n)
						if got := send(t.Context(), u, Route{}, mail.Envelope{}, cut(t, r, text, d), recipients("b@b.example")...); got.codes() != "250 final 250" {
							t.Fatal(got)
						}
						if mode != "chunking" && len(text) > 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
							text = append(text, "\r\n"...)
						}
						want = append(want, string(text))
					}
				}
				for i, m := range s.Messages() {
					if string(m.Data) != want[i] {
						t.Errorf("message %d of %d octets differs", i, len(want[i]))
					}
					if (m.Chunks > 0) != (mode == "chunking") {
						t.Errorf("%d BDAT commands", m.Chunks)
					}
				}
				if s.Accepted() != 1 {
					t.Errorf("%d connections", s.Accepted())
				}
			})
		}
	}
}

// peer is a server by another hand.
type peer struct {
	mu   sync.Mutex
	data []string
}

func (p *peer) NewSession(*smtp.Conn) (smtp.Session, error) { return p, nil }
func (p *peer) Mail(string, *smtp.MailOptions) error        { return nil }
func (p *peer) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (p *peer) Reset()                                      {}
func (p *peer) Logout() error                               { return nil }
func (p *peer) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = append(p.data, string(b))
	return err
}

func TestAgainstGoSMTPServer(t *testing.T) {
	p := &peer{}
	srv := smtp.NewServer(p)
	srv.Domain, srv.ReadTimeout, srv.WriteTimeout = "peer.example", time.Minute, time.Minute
	srv.EnableSMTPUTF8, srv.EnableDSN = true, true
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(ln)
	}()
	for _, chunking := range []bool{true, false} {
		cfg := testConfig(ln.Addr().String())
		cfg.Chunking = chunking
		u := newUpstream(t, cfg)
		r := rand.New(rand.NewPCG(5, 6))
		var want []string
		for i := range 60 {
			text := append(dotty(r, r.IntN(3000*(1+i/20*20))), "\r\n"...)
			if got := send(t.Context(), u, Route{}, mail.Envelope{Body: mail.Body8Bit, Ret: "FULL"}, cut(t, r, text, ""), recipients("b@b.example")...); got.codes() != "250 final 250" {
				t.Fatal(got)
			}
			want = append(want, string(text))
		}
		p.mu.Lock()
		for i := range want {
			if p.data[i] != want[i] {
				t.Errorf("chunking %v: message %d of %d octets differs", chunking, i, len(want[i]))
			}
		}
		p.data = nil
		p.mu.Unlock()
		u.Close(t.Context())
	}
	srv.Close()
	<-served
}

func benchUpstream(b *testing.B, offer []string, size int, file bool) {
	u, s := start(b, smtptest.Options{Discard: true, Offer: offer}, func(c *Config) { c.MessagesPerConnection = 1 << 30 })
	body := bytes.Repeat([]byte("A line of seventy-six octets, as base64 and quoted-printable make. It ends..\r\n"), size/78+1)[:size]
	copy(body[size-2:], "\r\n")
	content := Content{Prefix: []byte("Received: by relay.example\r\n"), Chunks: [][]byte{body}}
	if file {
		name := filepath.Join(b.TempDir(), "body")
		os.WriteFile(name, body, 0o600)
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		content.Chunks, content.File, content.FileSize = nil, f, int64(size)
	}
	env := mail.Envelope{From: addr("a@a.example")}
	rs := recipients("b@b.example")
	out := make([]mail.Reply, 0, 1)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		tx := u.Begin(Route{}, &env)
		if _, err := tx.Recipients(b.Context(), rs, out); err != nil {
			b.Fatal(err)
		}
		if r, err := tx.Send(b.Context(), content); err != nil || r.Code != 250 {
			b.Fatal(r, err)
		}
		tx.Close()
	}
	if s.Accepted() != 1 {
		b.Errorf("%d connections", s.Accepted())
	}
}

func BenchmarkTransaction(b *testing.B) {
	for _, mode := range []string{"pipelined", "chunking"} {
		b.Run(mode+"/2KiB", func(b *testing.B) { benchUpstream(b, modes[mode], 2<<10, false) })
		b.Run(mode+"/100KiB", func(b *testing.B) { benchUpstream(b, modes[mode], 100<<10, false) })
		b.Run(mode+"/1MiB", func(b *testing.B) { benchUpstream(b, modes[mode], 1<<20, false) })
		b.Run(mode+"/20MiB file", func(b *testing.B) { benchUpstream(b, modes[mode], 20<<20, true) })
	}
}

func BenchmarkStuffing(b *testing.B) {
	for name, line := range map[string]string{
		"base64": strings.Repeat("QUJD", 19) + "\r\n", "prose": "This is a sentence. And here is another one, with some more words in it.\r\n", "dots": ".\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			cfg := testConfig("x")
			cn := newConn(&host{cfg: &cfg}, route{}, discardConn{}, c0)
			content := Content{Chunks: [][]byte{bytes.Repeat([]byte(line), 1<<20/len(line))}}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				w := newBodyWriter(context.Background(), cn)
				w.stuffed(&content)
				w.release()
			}
		})
	}
}

type discardConn struct{ net.Conn }

func (discardConn) Write(b []byte) (int, error)      { return len(b), nil }
func (discardConn) SetWriteDeadline(time.Time) error { return nil }
