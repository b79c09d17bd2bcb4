package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialog sends each line of in and wants the reply prefixes of out in order.
func dialog(t *testing.T, s *Server, send string, want ...string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(c, send)
	r := bufio.NewReader(c)
	for _, w := range want {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %v", w, err)
			}
			if len(line) > 3 && line[3] == '-' {
				continue
			}
			if !strings.HasPrefix(line, w) {
				t.Fatalf("got %q, want %q", line, w)
			}
			break
		}
	}
	return c
}

func TestServerKeepsEnvelopeAndOctets(t *testing.T) {
	s := Start(t, Options{})
	dialog(t, s, "EHLO a.example\r\nMAIL FROM:<\"x> y\"@a.example> BODY=8BITMIME RET=HDRS\r\nRCPT TO:<b@b.example> NOTIFY=NEVER\r\nRCPT TO:<c@b.example>\r\nDATA\r\n"+
		"a\r\n..b\r\n\n.\n\r.\r\n\xff\r\n.\r\nQUIT\r\n", "220", "250", "250", "250", "250", "354", "250", "221")
	ms, err := s.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := ms[0]
	if got, want := string(m.Data), "a\r\n.b\r\n\n.\n\r.\r\n\xff\r\n"; got != want {
		t.Errorf("data %q, want %q", got, want)
	}
	if m.From.Address != `"x> y"@a.example` || len(m.To) != 2 || m.EHLO != "a.example" || !m.Replied || m.Conn != 1 {
		t.Errorf("envelope %+v", m)
	}
	if v, ok := m.To[0].Param("notify"); !ok || v != "NEVER" {
		t.Errorf("params %v", m.To[0].Params)
	}
}

func TestServerTakesChunksAcrossBufferEnds(t *testing.T) {
	s := Start(t, Options{})
	big := strings.Repeat("0123456789abcde\r\n", 5000)
	dialog(t, s, "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nBDAT 3\r\nx\r\nBDAT 85000 LAST\r\n"+big, "220", "250", "250", "250", "250", "250")
	dialog(t, s, "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx"+big+".\r\n", "220", "250", "250", "250", "354", "250")
	ms, _ := s.Wait(t.Context(), 2)
	if string(ms[0].Data) != "x\r\n"+big || ms[0].Chunks != 2 || string(ms[1].Data) != "x"+big {
		t.Errorf("sizes %d %d", len(ms[0].Data), len(ms[1].Data))
	}
}

func TestServerSpeaksTLSAndAuthWithNetSMTP(t *testing.T) {
	s := Start(t, Options{Offer: []string{"STARTTLS", "8BITMIME"}, TLSOffer: []string{"AUTH PLAIN LOGIN"}, Users: map[string]string{"u": "p"}, RequireAuth: true})
	c, err := smtp.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{RootCAs: s.CA().Pool(), ServerName: "localhost"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@a.example"); err == nil {
		t.Error("MAIL before AUTH passed")
	}
	if err := c.Auth(smtp.PlainAuth("", "u", "p", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@a.example"); err != nil {
		t.Fatal(err)
	}
	c.Rcpt("b@b.example")
	w, _ := c.Data()
	w.Write([]byte("hello\n"))
	w.Close()
	c.Quit()
	ms, err := s.Wait(t.Context(), 1)
	if err != nil || ms[0].User != "u" || ms[0].TLS == nil {
		t.Errorf("message %+v, %v", ms, err)
	}
}

func TestFaultsStrikeWhereTheyAreToldTo(t *testing.T) {
	s := Start(t, Options{Faults: []Fault{
		{Stage: Rcpt, To: "bad@b.example", Reply: "550-5.1.1 no\n550 5.1.1 such user"},
		{Stage: Dot, Conn: 1, Times: 1, Drop: DropBefore},
		{Stage: Dot, After: 1, Reply: "451 4.3.0 later", Split: 1},
	}})
	mail := "MAIL FROM:<>\r\nRCPT TO:<bad@b.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n.\r\n"
	c := dialog(t, s, "EHLO a.example\r\n"+mail, "220", "250", "250", "550", "250", "354")
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d octets, want a closed connection", n)
	}
	dialog(t, s, "EHLO a.example\r\n"+mail+mail, "220", "250", "250", "550", "250", "354", "250", "250", "550", "250", "354", "451")
	if ms := s.Messages(); len(ms) != 2 || ms[0].Replied || !ms[1].Replied {
		t.Errorf("messages %+v", ms)
	}
}

func TestGateHoldsUntilReleased(t *testing.T) {
	g := NewGate()
	s := Start(t, Options{Faults: []Fault{{Stage: Greeting, Gate: g}}})
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-g.Reached()
	g.Release()
	b := make([]byte, 3)
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, []byte("220")) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestRefuseAndReturn(t *testing.T) {
	s := Start(t, Options{})
	s.Refuse(true)
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("connected")
	}
	if err := s.Refuse(false); err != nil {
		t.Fatal(err)
	}
	dialog(t, s, "QUIT\r\n", "220", "221")
	if s.Accepted() != 1 {
		t.Errorf("accepted %d", s.Accepted())
	}
}
