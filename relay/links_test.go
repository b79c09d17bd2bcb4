package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/scan/links"
)

// linked sends one message through a rig with a list of links in a file, and zones
// behind a resolver that does not answer.
func linked(t *testing.T, mode links.Mode, zones []string, message string) (reply string, ev mail.Event, sent int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "feed")
	if err := os.WriteFile(path, []byte("evil.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := links.Options{Own: []string{"example.org"}, Servers: []string{"127.0.0.1:1"}}
	o.Config.SetDefaults()
	o.Config.Mode, o.Config.Files, o.Config.Zones = mode, []string{path}, zones
	lists, err := links.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lists.Stop(nil) })
	r := newRig(t)
	r.message.Memory = 100 << 10
	r.start()
	next := *r.server.snapshot()
	next.Links = lists
	r.server.Reload(&next)
	p := r.dial()
	p.say("EHLO c.example", "250")
	p.say("MAIL FROM:<a@example.org>", "250")
	p.say("RCPT TO:<b@dest.example>", "250")
	p.say("DATA", "354")
	reply = p.say(message+"\r\n.", "")
	return strings.TrimSpace(reply), *r.events.wait(t, 0), len(r.up.Messages())
}

func TestLinksDecideWhatLeaves(t *testing.T) {
	plain := "From: a@example.org\r\n\r\nsee https://www.example.org/ and https://evil.example/x"
	// The second is quoted-printable HTML within a multipart, behind 150 KiB that are
	// not in memory.
	hidden := "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n" +
		strings.Repeat(strings.Repeat("x", 70)+"\r\n", 2200) + "--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
		"<a href=3D\"https://good.example&#64;e=\r\nvil.example\">\r\n--b--"
	for _, c := range []struct {
		name, message string
		mode          links.Mode
		zones         []string
		reply, stage  string
		listed        string
		sent          int
	}{
		{"enforced", plain, links.Enforce, nil, "550 5.7.1 message links to a listed host: evil.example", "scan", "evil.example", 0},
		{"hidden", hidden, links.Enforce, nil, "550 5.7.1 message links to a listed host: evil.example", "scan", "evil.example", 0},
		{"shadow", plain, links.Shadow, nil, "250", "forward", "evil.example", 1},
		{"clean", "From: a@example.org\r\n\r\nsee https://good.example/", links.Enforce, nil, "250", "forward", "", 1},
		{"a zone that says nothing", "From: a@example.org\r\n\r\nsee https://good.example/", links.Enforce, []string{"dbl.example"}, "250", "forward", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			reply, ev, sent := linked(t, c.mode, c.zones, c.message)
			if !strings.HasPrefix(reply, c.reply) || ev.Stage != c.stage || sent != c.sent {
				t.Errorf("%q at %s, sent %d", reply, ev.Stage, sent)
			}
			if ev.Links == nil || ev.Links.Hosts != 1 || (c.listed != "") != (len(ev.Links.Listed) == 1) || c.listed != "" && ev.Links.Listed[0].Host != c.listed {
				t.Fatalf("%+v", ev.Links)
			}
			if shadow := c.mode == links.Shadow; ev.Links.Shadow != shadow || (len(ev.Shadow) > 0) != shadow {
				t.Errorf("%+v, shadow %v", ev.Links, ev.Shadow)
			}
			if c.zones != nil && ev.Links.Lists[1].Verdict != "fault" {
				t.Errorf("%+v", ev.Links.Lists)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Error(took)
			}
		})
	}
}
