package parts

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const size25 = 25 << 20 / slower // the race detector has nothing to find here, and costs

// traps are messages of 25 MiB, or small ones, that cost a parser more than their
// size: by nesting, by many parts, names, boundaries or lines that look like some.
func traps() map[string][]byte {
	fill := func(head, line string) []byte {
		return []byte(head + strings.Repeat(line, (size25-len(head))/len(line)))
	}
	mixed := "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	octets := make([]byte, size25*3/4-size25/50)
	rand.Read(octets)
	attachment := new(bytes.Buffer)
	attachment.WriteString(mixed + "--b\r\nContent-Type: application/zip; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	attachment.WriteString(lines(base64.StdEncoding.EncodeToString(octets)))
	var nested, deep, many strings.Builder
	for i := range 24 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=\"%d\"\r\n\r\n--%d\r\n", i, i)
	}
	for i := range size25 / 60 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=\"b%d\"\r\n\r\n--b%d\r\n", i, i)
	}
	many.WriteString(mixed)
	for n := 1; n < 500; n++ {
		fmt.Fprintf(&many, "--b\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n", strings.Repeat("x", n))
	}
	all := map[string][]byte{
		"attachment":          attachment.Bytes(),
		"plain text":          fill("From: a@example.org\r\n\r\n", strings.Repeat("word ", 15)+"\r\n"),
		"one line":            fill("From: a@example.org\r\n\r\n", "x"),
		"empty lines":         fill("From: a@example.org\r\n\r\n", "\r\n"),
		"24 nested":           []byte(nested.String()),
		"nested without end":  []byte(deep.String()),
		"empty parts":         fill(mixed, "--b\r\n\r\n"),
		"dashes":              fill(mixed, "--\r\n"),
		"boundary beginnings": fill(many.String(), "--"+strings.Repeat("x", 76)+"y\r\n"),
		"false boundaries":    fill(mixed, "--c\r\nContent-Type: text/plain\r\n\r\n"),
		"messages in messages": fill("From: a@example.org\r\n",
			"Content-Type: message/rfc822\r\n\r\n"),
		"equals signs":       fill("Content-Type: x", "="),
		"names":              fill("Content-Type: x", ";name=x"),
		"names in parts":     fill(mixed, "--b\r\nContent-Type: x"+strings.Repeat(";name=\"a\\b%41=?utf-8?b?YQ==?=\"", 60)+"\r\n\r\n"),
		"folds":              fill("Content-Type: x;\r\n", " name\r\n"),
		"comments":           fill("Content-Type: x;", "(("),
		"encoded words":      fill(mixed, "--b\r\nContent-Type: x; name=\""+strings.Repeat("=?utf-8?b?YQ==?= ", 100)+"\"\r\n\r\n"),
		"8-bit names":        fill(mixed, "--b\r\nContent-Type: x; name=\""+strings.Repeat("\xef\xbd\x85\xcc\x81", 200)+"\"\r\n\r\n"),
		"quoted-printable":   fill("Content-Transfer-Encoding: quoted-printable\r\n\r\n", "=41=4=\r\n"),
		"begins":             fill("From: a@example.org\r\n\r\n", "begin 644 x\r\n"),
		"zip headers":        fill("Content-Type: x\r\nContent-Transfer-Encoding: binary\r\n\r\n", "PK\x01\x02\x14\x00\x14\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00aa"),
		"slashes of a PDF":   fill("Content-Type: x\r\nContent-Transfer-Encoding: binary\r\n\r\n%PDF-1.4", "/#45ncryp"),
		"TNEF titles":        fill("Content-Type: x\r\nContent-Transfer-Encoding: binary\r\n\r\n\x78\x9f\x3e\x22", "\x02\x10\x80\x01\x00\x00\x04\x00\x00"),
		"unknown encoding":   fill("Content-Transfer-Encoding: x-own\r\n\r\n", "TVqQAAMAAAAE=41AAAA\r\n"),
		"header without end": fill("", "Content-X: y\r\n"),
	}
	inner := []byte("Subject: x\r\n\r\n" + strings.Repeat("a", (1<<20)/slower))
	for range 10 {
		inner = []byte("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(inner))
	}
	all["encoded messages"] = inner
	return all
}

// TestTrapsCostNoMoreThanTheirSize: 25 MiB of anything take linear time and bounded
// memory. The times are of the processor, and four times what is promised, for
// machines that are busy.
func TestTrapsCostNoMoreThanTheirSize(t *testing.T) {
	const most = slower * 2 * time.Second
	for name, m := range traps() {
		t.Run(name, func(t *testing.T) {
			best, octets := time.Hour, uint64(0)
			for tries := 0; tries < 2 && (tries == 0 || best > most); tries++ {
				var k Walker
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := cpuTime(t)
				if _, err := k.Walk(bytes.NewReader(m), Want{Refused: NewRules("scr", "inv*.zip"), Encrypted: true}); err != nil {
					t.Fatal(err)
				}
				best = min(best, cpuTime(t)-began)
				runtime.ReadMemStats(&after)
				octets = after.TotalAlloc - before.TotalAlloc
			}
			t.Logf("%v, %d octets allocated", best, octets)
			if best > most || octets > 1<<20 {
				t.Errorf("%v and %d octets", best, octets)
			}
		})
	}
}

// cpuTime is what this process has taken of the processor.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
