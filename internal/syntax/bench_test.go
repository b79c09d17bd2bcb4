package syntax

import (
	"os"
	"testing"
)

func BenchmarkMailCommand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MailCommand("<news@shop.example.org> SIZE=20480 BODY=8BITMIME"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRcptCommand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := RcptCommand("<reader@mailbox.example>", false, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	msg, err := os.ReadFile("testdata/messages/newsletter-one-click.eml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(msg[:HeaderEnd(msg, 0)], 2000); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthors(b *testing.B) {
	for _, v := range []struct{ name, value string }{
		{"address", " <news@shop.example.org>\r\n"},
		{"name", " Anna Kowalska <anna@example.org>\r\n"},
		{"encoded", " =?UTF-8?Q?Caf=C3=A9_Nord?= <news@shop.example.org>\r\n"},
	} {
		b.Run(v.name, func(b *testing.B) {
			value := []byte(v.value)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := AppendAuthors(nil, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
