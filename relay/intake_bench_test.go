package relay

import (
	"os"
	"path/filepath"
	"postern/relay/smtpd"
	"strings"
	"testing"
)

// letter is a newsletter of 2 KiB.
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
	strings.Repeat("The line of a letter. It says little, but at a length that is usual.\r\n", 22)

// BenchmarkIntake takes a message whole: its header is read and judged, its body
// kept.
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
	for _, m := range []struct{ name, text string }{{"plain", letter}, {"newsletter", string(real)}} {
		b.Run(m.name, func(b *testing.B) {
			text := []byte(m.text)
			b.ReportAllocs()
			for b.Loop() {
				t := &transaction{srv: r.server, snap: snap, client: client}
				from := &smtpd.Message{}
				t.in = newIntake(&snap.Message, r.server.spool, from)
				t.in.headerEnds = t.header
				from.Take(text)
				t.in.end()
				if from.Refusal != nil || from.Fault != nil {
					b.Fatal(from.Refusal, from.Fault)
				}
				t.in.drop()
			}
		})
	}
}
