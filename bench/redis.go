package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/freeport"
)

// scriptSHA names the floor's script to Redis.
var scriptSHA = func() string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}()

// startRedis runs a redis-server of its own that keeps nothing on disk, and
// loads the floor's script.
func startRedis(ctx context.Context, dir string, more ...string) (*process, string, error) {
	port, err := freeport.Port()
	if err != nil {
		return nil, "", err
	}
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", dir}
	p, err := start(ctx, dir, "redis.log", "redis-server", append(args, more...)...)
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

// decisions is how many script calls a Redis server has had.
func decisions(addr string) (n int, err error) {
	err = probe(addr, func(c *stream) error {
		c.out = append(c.out, "*2\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n"...)
		head, err := c.line()
		if err != nil {
			return err
		}
		left, err := strconv.Atoi(strings.TrimPrefix(string(head), "$"))
		for err == nil && left > 0 {
			var line []byte
			if line, err = c.line(); err != nil {
				break
			}
			left -= len(line) + 2
			if calls, ok := strings.CutPrefix(string(line), "cmdstat_evalsha:calls="); ok {
				calls, _, _ = strings.Cut(calls, ",")
				n, err = strconv.Atoi(calls)
			}
		}
		return err
	})
	return n, err
}

// slots is how many hash slots a Cluster divides among its servers.
const slots = 16384

// startCluster runs n Redis servers that form a Cluster without replicas.
func startCluster(ctx context.Context, dir string, n int) (stores []*store, err error) {
	defer func() {
		if err != nil {
			for _, s := range stores {
				s.stop()
			}
			stores = nil
		}
	}()
	for i := range n {
		sub, err := os.MkdirTemp(dir, "redis-")
		if err != nil {
			return stores, err
		}
		port, err := freeport.Port() // of the bus between them
		if err != nil {
			return stores, err
		}
		bus := strconv.Itoa(port)
		p, addr, err := startRedis(ctx, sub, "--cluster-enabled", "yes", "--cluster-port", bus)
		if err != nil {
			return stores, err
		}
		s := &store{p, addr, bus}
		stores = append(stores, s)
		from, to := i*slots/n, (i+1)*slots/n-1
		if err := s.ask("+OK", "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)); err != nil {
			return stores, err
		}
		if host, port, _ := net.SplitHostPort(stores[0].addr); i > 0 {
			if err := s.ask("+OK", "CLUSTER", "MEET", host, port, stores[0].bus); err != nil {
				return stores, err
			}
		}
	}
	for _, s := range stores {
		if err := s.await(s.addr, time.Minute, func(c *stream) error {
			return c.ask("cluster_state:ok", "CLUSTER", "INFO")
		}); err != nil {
			return stores, err
		}
	}
	return stores, nil
}

// ask sends one command and wants a line of the answer, among the first two.
func (s *store) ask(want string, args ...string) error {
	return probe(s.addr, func(c *stream) error { return c.ask(want, args...) })
}

func (s *stream) ask(want string, args ...string) error {
	s.out = fmt.Appendf(s.out, "*%d\r\n", len(args))
	for _, a := range args {
		s.out = fmt.Appendf(s.out, "$%d\r\n%s\r\n", len(a), a)
	}
	var line []byte
	for range 2 {
		var err error
		if line, err = s.line(); err != nil {
			return err
		}
		if string(line) == want {
			return nil
		}
		if line[0] != '$' {
			break
		}
	}
	return fmt.Errorf("%s: redis answered %q", strings.Join(args, " "), line)
}
