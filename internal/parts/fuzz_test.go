package parts

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzWalk: nothing that a message holds makes the walk panic, take long, or depend
// on how the octets come.
func FuzzWalk(f *testing.F) {
	for _, pattern := range []string{"../syntax/testdata/messages/*", "testdata/files/*", "testdata/smime/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && len(b) < 10_000 {
				f.Add(b)
				f.Add(append([]byte("Content-Type: a/b\r\n\r\n"), b...))
				f.Add(append([]byte("Content-Type: application/pkcs7-mime\r\n\r\n"), b...))
			}
		}
	}
	f.Add([]byte(crlf(multipart("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + encoded(crlf(named("Content-Type: x/y; name*0*=utf-8''a; name*1==?utf-8?b?YQ==?=")))))))
	var k Walker
	f.Fuzz(func(t *testing.T, m []byte) {
		want := Want{Refused: NewRules("exe", "z*", "tar.gz"), Encrypted: true, Text: func(*Text) {}}
		began := time.Now()
		a, err := k.Walk(bytes.NewReader(m), want)
		if took := time.Since(began); err != nil || took > 20*time.Second {
			t.Fatalf("%v after %v", err, took)
		}
		b, err := k.Walk(iotest.HalfReader(bytes.NewReader(m)), want)
		if a != b || err != nil {
			t.Fatalf("%+v, and in other pieces %+v, %v", a, b, err)
		}
		c, err := k.Walk(iotest.OneByteReader(bytes.NewReader(m)), want)
		if a != c || err != nil {
			t.Fatalf("%+v, and octet by octet %+v, %v", a, c, err)
		}
	})
}
