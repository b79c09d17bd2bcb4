package freeport

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestPortIsFreeAndStaysSo(t *testing.T) {
	for range 50 {
		port, err := Port()
		if err != nil {
			t.Fatal(err)
		}
		if err := free("127.0.0.1:" + strconv.Itoa(port)); err != nil {
			t.Error(err)
		}
		if least := firstOutgoing(t); port >= least {
			t.Errorf("%d is one of those that outgoing connections take, from %d", port, least)
		}
	}
	if a, err := Address(); err != nil || !strings.HasPrefix(a, "127.0.0.1:") {
		t.Errorf("%q %v", a, err)
	}
}

func TestUsedPortIsNotFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, port, _ := net.SplitHostPort(l.Addr().String()); free(":"+port) == nil {
		t.Error("a port that one address has is called free")
	}
}

// firstOutgoing is the first port that the kernel gives to outgoing connections.
func firstOutgoing(t *testing.T) int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768 // the default of Linux
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
