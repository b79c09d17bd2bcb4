package main

import (
	"bytes"
	"fmt"
	"strings"
)

// message is one mail to send again and again: as it is, and as DATA wants it.
type message struct {
	plain []byte // lines end in CR LF, nothing stuffed
	wire  []byte // dots doubled, with the final dot
}

// domain owns every sender of the benchmarks; its key signs.
const domain = "example.org"

// newMessage makes a mail of about size octets: text lines as people and
// newsletters write them, a few of which begin with a dot, and from 4 KiB on an
// attachment in base64.
func newMessage(size int) message {
	var b bytes.Buffer
	b.WriteString("From: \"News of the house\" <news@" + domain + ">\r\n" +
		"To: <reader@receiver.example>\r\n" +
		"Subject: What happened in the week and what comes next\r\n" +
		"Date: Wed, 25 Nov 2026 08:00:00 +0000\r\n" +
		"Message-ID: <1732521600.4711.news@" + domain + ">\r\n" +
		"MIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=us-ascii\r\n" +
		"Content-Transfer-Encoding: 7bit\r\n" +
		"List-Unsubscribe: <https://" + domain + "/unsubscribe?reader=4711>\r\n" +
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
		"\r\n")
	for i := 0; b.Len() < min(size, 4<<10)-2; i++ {
		line := fmt.Sprintf("Line %d of the letter. It says little, but at a length that is usual.", i)
		if i%40 == 20 {
			line = "." + line
		}
		b.WriteString(line[:min(len(line), max(1, size-b.Len()-2))] + "\r\n")
	}
	for b.Len() < size-2 {
		line := strings.Repeat("TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsu", 3)[:76]
		b.WriteString(line[:min(len(line), max(1, size-b.Len()-2))] + "\r\n")
	}
	plain := b.Bytes()
	wire := bytes.ReplaceAll(plain, []byte("\r\n."), []byte("\r\n.."))
	return message{plain: plain, wire: append(wire[:len(wire):len(wire)], ".\r\n"...)}
}
