package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// letter is a newsletter of 2 KiB as DATA carries it.
var letter = "From: \"News of the house\" <news@example.org>\r\n" +
	"To: <reader@receiver.example>\r\n" +
	"Subject: What happened in the week and what comes next\r\n" +
	"Date: Wed, 25 Nov 2026 08:00:00 +0000\r\n" +
	"Message-ID: <1732521600.4711.news@example.org>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=us-ascii\r\n" +
	"Content-Transfer-Encoding: 7bit\r\n" +
	"List-Unsubscribe: <https://example.org/unsubscribe?reader=4711>\r\n" +
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n" +
	strings.Repeat("The line of a letter. It says little, but at a length that is usual.\r\n", 22) + ".\r\n"

// BenchmarkIntake takes a message whole: its lines are checked, its header is
// read and judged, its body kept.
func BenchmarkIntake(b *testing.B) {
	real, err := os.ReadFile(filepath.Join("../internal/syntax/testdata/messages", "newsletter-one-click.eml"))
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b)
	corporate := r.clients["corporate"]
	corporate.Senders = []string{"@example.org", "@shop.example.org"}
	r.clients["corporate"] = corporate
	r.start()
	snap := r.server.snapshot()
	client := snap.Rules.Clients()[0]
	s := &session{srv: r.server, lis: new(listener), snap: snap, ctx: b.Context(), peer: mail.Peer{Helo: "mta.example.org"}}
	for _, m := range []struct{ name, wire string }{{"plain", letter}, {"newsletter", string(real) + ".\r\n"}} {
		b.Run(m.name, func(b *testing.B) {
			wire := []byte(m.wire)
			b.ReportAllocs()
			for b.Loop() {
				t := s.begin()
				t.client = client
				in := t.intake(time.Time{}, true)
				if _, done := in.scan.feed(wire); !done {
					b.Fatal("no end")
				}
				in.end()
				if r, err := in.verdict(); r != nil || err != nil {
					b.Fatal(r, err)
				}
				in.close()
			}
		})
	}
}
