// Package freeport finds ports for servers that are not ours and must be told one, in
// tests and measurements.
//
// A port that the kernel gives for 0 and that is closed again may be taken at once by
// an outgoing connection of anybody. Those of this package lie under the ports that
// outgoing connections take.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports of this package; a test holds that outgoing connections take none of them, and
// the servers of redistest have 11000 to 32000.
const (
	first = 5000
	count = 6000
)

// Port finds a port that nobody uses for TCP or UDP on any address. On Linux no other
// call gets the same one while this process lives, in whichever process it is.
func Port() (int, error) {
	var err error
	for range 200 {
		port := first + rand.IntN(count)
		if !lease(port) {
			continue
		}
		if err = free(":" + strconv.Itoa(port)); err == nil {
			return port, nil
		}
	}
	return 0, errors.Join(errors.New("no free port"), err)
}

// Address is one on 127.0.0.1 with such a port.
func Address() (string, error) {
	port, err := Port()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	return p.Close()
}
