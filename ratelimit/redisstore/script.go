package redisstore

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is a Lua program. Servers know it by its SHA-1 after the first time.
type script struct {
	source string
	sha    any // a string, of which no call needs a copy
}

// scripts are all that the store runs.
type scripts struct {
	take, undo, refund, record, allowance, allowances, reset, nodes, adopt, secret script
}

// newScripts reads the programs; edit may change the text, for tests.
func newScripts(edit func(string) string) (s scripts) {
	text := func(name string) string {
		b, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // it is part of the program
		}
		return string(b)
	}
	for name, to := range map[string]*script{
		"refund": &s.refund, "record": &s.record, "allowance": &s.allowance,
		"allowances": &s.allowances, "reset": &s.reset, "nodes": &s.nodes, "adopt": &s.adopt, "secret": &s.secret,
	} {
		*to = newScript(edit(text("time") + text("state") + text(name)))
	}
	s.take = newScript(edit(text("time") + text("quick") + text("state") + text("batch") + text("take")))
	s.undo = newScript(edit(text("time") + text("state") + text("batch") + text("undo")))
	return s
}

func newScript(source string) script {
	sum := sha1.Sum([]byte(source)) // what EVALSHA goes by
	return script{source, hex.EncodeToString(sum[:])}
}

// run runs a script. One whose connection broke is sent a second time: every
// script that changes counts goes by an attempt, and does nothing twice.
func (r *Store) run(ctx context.Context, s *script, keys []string, args ...any) (any, error) {
	v, err := r.send(ctx, "evalsha", s.sha, keys, args)
	if isBroken(err) && ctx.Err() == nil {
		v, err = r.send(ctx, "evalsha", s.sha, keys, args)
	}
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		v, err = r.send(ctx, "eval", s.source, keys, args)
	}
	return v, err
}

// isBroken reports whether a new connection may do better: the server went away
// or has become a replica.
func isBroken(err error) bool {
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return !network.Timeout()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		redis.HasErrorPrefix(err, "READONLY")
}

// send sends one command to the server that holds the keys.
func (r *Store) send(ctx context.Context, verb, program any, keys []string, args []any) (any, error) {
	list := make([]any, 0, 3+len(keys)+len(args))
	list = append(list, verb, program, len(keys))
	for _, k := range keys {
		list = append(list, k)
	}
	list = append(list, args...)
	if r.clock != nil {
		list = append(list, r.clock())
	}
	p, err := r.pipe(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	v, err := p.do(ctx, redis.NewCmd(ctx, list...))
	if r.cluster != nil && isMoved(err) {
		// The client of the Cluster follows, and learns of the new order.
		return r.cluster.Do(ctx, list...).Result()
	}
	return v, err
}

func isMoved(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.HasPrefix(text, "MOVED ") || strings.HasPrefix(text, "ASK ") || errors.Is(err, redis.ErrClosed)
}

// pipe is the pipe to the server that holds a key.
func (r *Store) pipe(ctx context.Context, key string) (*pipe, error) {
	if r.cluster == nil {
		return r.single, nil
	}
	node, err := r.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.nodes[node.Options().Addr]
	if p == nil || p.client != node {
		p = r.newPipe(node)
		r.nodes[node.Options().Addr] = p
	}
	return p, nil
}

func (r *Store) newPipe(client *redis.Client) *pipe {
	return &pipe{client: client, timeout: r.timeout, lanes: r.lanes, running: &r.running}
}

// bounded gives a call the time that the settings allow.
func (r *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.timeout)
}

// beatEvery is how often a node that decides notes that it is there.
const beatEvery = 15 * time.Second

// beat does so when it is time; what comes of it does not matter here.
func (r *Store) beat(ctx context.Context) {
	now, last := time.Now().UnixNano(), r.lastBeat.Load()
	if now-last < int64(beatEvery) || !r.lastBeat.CompareAndSwap(last, now) {
		return
	}
	_, _ = r.nodesSeen(ctx)
}
