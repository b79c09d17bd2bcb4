package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"postern/internal/eventlog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lockedBuffer takes a log that several sessions write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// logged runs a session and returns everything that it wrote to the log and
// into events.
func logged(t *testing.T, in string, set ...string) string {
	r := newRig(t)
	for _, line := range set {
		r.set("", line)
	}
	var log lockedBuffer
	r.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.tune = func(s *Server) { s.observers = append(s.observers, eventlog.NewLogObserver(r.log)) }
	p := r.connect()
	p.send(in + "QUIT\r\n")
	for p.reply() != "" {
	}
	r.stop()
	events, err := json.Marshal(r.events.all)
	if err != nil {
		t.Fatal(err)
	}
	return log.String() + string(events)
}

// No password, and no line of AUTH, is ever logged, right or wrong.
func TestPasswordsAreNeverLogged(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	secrets := []string{"hunter2-is-wrong", b64([]byte("\x00shop\x00hunter2-is-wrong")), b64([]byte("hunter2-is-wrong")), "AHNob3AAc2VjcmV0", "c2VjcmV0", "typed-into-the-user-field"}
	text := logged(t, "EHLO x\r\n"+
		"AUTH PLAIN "+b64([]byte("\x00shop\x00hunter2-is-wrong"))+"\r\n"+
		"AUTH PLAIN "+b64([]byte("\x00typed-into-the-user-field\x00x"))+"\r\n"+
		"AUTH LOGIN\r\nc2hvcA==\r\n"+b64([]byte("hunter2-is-wrong"))+"=\r\n"+
		"AUTH PLAIN hunter2-is-wrong\r\n"+
		"AUTH PLAIN AHNob3AAc2VjcmV0\r\n"+
		"MAIL FROM:<orders@shop.example>\r\nRCPT TO:<b@dest.example>\r\nRSET\r\n")
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%q stands in %s", s, text)
		}
	}
	if !strings.Contains(text, "user=shop") {
		t.Errorf("the session did not go as meant: %s", text)
	}
}

// What a peer sends never reaches a log with its controls.
func TestPeersWriteNoLogLines(t *testing.T) {
	text := logged(t, "EHLO x\r\nMAIL FROM:<a\x01\x1b[2J\n@example.org>\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<\"b\xe2\x80\xa8\x7f\"@dest.example>\r\n"+
		"RCPT TO:<b@dest.example>\r\nDATA\r\nFrom: a@example.org\r\nMessage-ID: <\x1b[31m\x07\xff@x>\r\n\r\nx\r\n.\r\n")
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f]`).MatchString(line) {
			t.Errorf("control in %q", line)
		}
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "[{") {
			t.Errorf("line %q", line)
		}
	}
}

// A fault that comes again and again is one line in ten seconds.
func TestFaultsAreLoggedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		f := faultLog{log: slog.New(slog.NewTextHandler(&b, nil))}
		for range 100 {
			f.report("store", errors.New("no answer"), "id", "x")
			f.report("upstream", errors.New("no answer"))
		}
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want 2", n)
		}
		time.Sleep(faultEvery)
		f.report("store", errors.New("no answer"))
		if !strings.Contains(b.String(), "not_logged=99") {
			t.Errorf("the others are not counted: %s", &b)
		}
	})
}

// TestLongRepliesDoNotFillTheJournal: a receiver chooses its reply to each of many
// recipients. The client hears all of it.
func TestLongRepliesDoNotFillTheJournal(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat(`550-5.7.1 `+strings.Repeat("x", 900)+`\n`, 7)
	r.fault("", "rcpt "+long+"550 5.7.1 no")
	p := r.dial()
	p.say("EHLO x", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	const n = 50
	for i := range n {
		if got := p.say(fmt.Sprintf("RCPT TO:<b%d@dest.example>", i), "550"); len(got) < 3000 {
			t.Fatalf("the client hears %d octets", len(got))
		}
	}
	p.say("QUIT", "221")
	text, err := json.Marshal(r.events.wait(t, 0))
	if err != nil || len(text) > 48<<10 {
		t.Errorf("an event of %d octets, %v", len(text), err)
	}
}
