package client

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorsHoldNoToken of another relay, which the console shows to people who may not
// have it: whatever answers there may say what it was asked again.
func TestErrorsHoldNoToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("pst_T0KEN\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{
		"%s\r\n", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 500 %s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", "HTTP/1.1 307 Go\r\nLocation: http://%%zz%s\r\nContent-Length: 0\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != ""; {
				if strings.HasPrefix(lines.Text(), "Authorization: ") {
					fmt.Fprintf(c, answer, lines.Text())
				}
			}
		}()
		c, err := At("http://"+l.Addr().String(), file, "")
		if err != nil {
			t.Fatal(err)
		}
		err = c.Get("/status", nil, new(any))
		l.Close()
		<-done
		if err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
