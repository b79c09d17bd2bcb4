package freeport

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
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

// TestPortIsGivenOnce, also to those that ask at the same time, before anybody listens.
func TestPortIsGivenOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is no lease
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	given := map[int]int{}
	for range 4 {
		all.Go(func() {
			for range 100 { // of 6000: some would come twice
				port, err := Port()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				given[port]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(given) != 400 {
		t.Errorf("400 calls were given %d ports", len(given))
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
