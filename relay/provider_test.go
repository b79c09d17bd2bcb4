package relay

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

// submit sends messages on one connection and returns the last replies.
func (r *rig) submit(messages ...string) (last []string) {
	r.t.Helper()
	p := r.connect()
	say := func(text string) string {
		p.send(text + "\r\n")
		return p.reply()
	}
	p.reply()
	say("EHLO mta.example.org")
	for _, m := range messages {
		say("MAIL FROM:<a@example.org>")
		say("RCPT TO:<b@dest.example>")
		say("DATA")
		last = append(last, say(m+"\r\n."))
	}
	return last
}

// TestSignatureFitsBehindSES: what Amazon SES has put in place of our Message-ID and
// Date breaks no signature where these are left out, and each where they are not.
func TestSignatureFitsBehindSES(t *testing.T) {
	for _, fields := range []string{"", "Message-ID,Date"} {
		r := newRig(t)
		for _, line := range []string{"provider.ses", "dkim. example.org", "sign.sign_keys first", "sign.unsigned_fields " + fields} {
			r.set("", line)
		}
		r.submit("From: a@example.org\r\nTo: b@dest.example\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\nMessage-ID: <m1@example.org>\r\nSubject: hello\r\n\r\nText.")
		got := r.up.Messages()
		if len(got) != 1 || !bytes.Contains(got[0].Data, []byte("@eu-west-1.amazonses.com>")) {
			t.Fatalf("SES has %+v", got)
		}
		_, record := r.server.snapshot().Signers.Keys()[0].Record()
		all, err := dkim.VerifyWithOptions(bytes.NewReader(got[0].Data), &dkim.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
		})
		if err != nil || len(all) != 1 {
			t.Fatalf("%d signatures, %v", len(all), err)
		}
		if (all[0].Err == nil) != (fields != "") {
			t.Errorf("leaving out %q: %v", fields, all[0].Err)
		}
	}
}

// TestRefusedFieldOfOursIsToldOnce: however much mail an upstream refuses because of
// our field, the log has one ERROR in a while, and no mail is lost.
func TestRefusedFieldOfOursIsToldOnce(t *testing.T) {
	var log lockedBuffer
	r := newRig(t)
	r.log = slog.New(slog.NewTextHandler(&log, nil))
	r.set("", "provider.ses")
	r.set("", "dkim.s1,s2 example.org")
	message := "From: a@example.org\r\n\r\nx"
	for _, reply := range r.submit(message, message, message, message) {
		if !strings.HasPrefix(reply, "451 4.3.0 upstream refuses a header field") {
			t.Errorf("client heard %q", reply)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), `fault in upstream on our field`) {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// TestFortyMessagesThroughStalwart: ten messages a session, told by 452 at DATA, are
// nobody's concern but ours.
func TestFortyMessagesThroughStalwart(t *testing.T) {
	r := newRig(t)
	r.set("", "provider.stalwart")
	messages := make([]string, 40)
	for i := range messages {
		messages[i] = "From: a@example.org\r\n\r\nx"
	}
	for i, reply := range r.submit(messages...) {
		if !strings.HasPrefix(reply, "250 2.0.0 Message queued") {
			t.Errorf("message %d: %q", i, reply)
		}
	}
	if n := r.up.Taken(); n != len(messages) {
		t.Errorf("%d of %d arrived", n, len(messages))
	}
}
