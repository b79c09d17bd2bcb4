package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// scriptSHA names the floor's script to Redis.
var scriptSHA = func() string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}()

// startRedis runs a redis-server of its own that keeps nothing on disk, and
// loads the floor's script.
func startRedis(ctx context.Context, dir string) (*process, string, error) {
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	p, err := start(ctx, dir, "redis.log", "redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
		"--save", "", "--appendonly", "no", "--dir", dir)
	if err != nil {
		return nil, "", fmt.Errorf("%w (Debian package redis-server)", err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := p.await(addr, 10*time.Second, func(s *stream) error {
		s.out = append(s.out, "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$"+strconv.Itoa(len(script))+"\r\n"+script+"\r\n"...)
		if _, err := s.line(); err != nil {
			return err
		}
		sum, err := s.line()
		if err == nil && strings.TrimSpace(string(sum)) != scriptSHA {
			err = fmt.Errorf("redis: script is %q", sum)
		}
		return err
	}); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, addr, nil
}

// freePort is one that nobody listens on at present.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}
