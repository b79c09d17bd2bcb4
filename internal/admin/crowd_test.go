package admin

import (
	"net"
	"testing"
	"time"
)

// TestCrowdKeepsOutNobodyElse: an address that opens more and more connections loses its own,
// the oldest first; others come in and stay.
func TestCrowdKeepsOutNobodyElse(t *testing.T) {
	inner, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	crowd := NewCrowd(inner, 4)
	defer crowd.Close()
	port := inner.Addr().(*net.TCPAddr).Port
	come := func(from string) (client, server net.Conn) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		client, err := d.Dial("tcp4", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = crowd.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	isOpen := func(server net.Conn) bool { return server.SetDeadline(time.Time{}) == nil }
	_, quiet := come("127.0.0.2")
	var many []net.Conn
	for range 6 {
		_, s := come("127.0.0.3")
		many = append(many, s)
	}
	_, late := come("127.0.0.4")
	for i, s := range many {
		if want := i >= 4; isOpen(s) != want {
			t.Errorf("connection %d of the crowd is open: %v", i, !want)
		}
	}
	if !isOpen(quiet) || !isOpen(late) {
		t.Error("another address was put out")
	}
	many[5].Close()
	if _, s := come("127.0.0.5"); !isOpen(s) || !isOpen(many[4]) {
		t.Error("the place of one that had ended was not free")
	}
}
