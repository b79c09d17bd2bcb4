package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/recipients"
	"postern/ratelimit/redisstore"
)

// openRedis makes the client that limits, the watch and the count of guessed
// passwords share; without [redis] there is none.
func (n *Node) openRedis(file *config.File) (err error) {
	if !file.Redis.Enabled() {
		return nil
	}
	if n.redis, err = redisstore.NewClient(file.Redis); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	n.opened.add(func(context.Context) { n.redis.Close() })
	return nil
}

// openSecret reads or draws what hashes of recipients are keyed with.
func (n *Node) openSecret(file *config.File) *recipients.Secret {
	s, err := recipients.LoadSecret(filepath.Join(file.StateDir, "limits.secret"), nil)
	if err != nil {
		n.log.Error("limits", "err", err)
	}
	n.run(func(ctx context.Context) {
		n.every(ctx, probeEvery, func() { n.stateWritten("secret", s.Keep()) })
	})
	return s
}

// openStore opens where counts are kept: in process with a snapshot on disk,
// or in Redis with the process beside it for when Redis is away.
func (n *Node) openStore(file *config.File, secret *recipients.Secret) ratelimit.Store {
	local := embedded.New(file.Store, nil)
	path := filepath.Join(file.StateDir, "limits.snapshot")
	if err := local.Load(path); err != nil {
		n.log.Error("limits", "err", err)
	}
	n.run(func(ctx context.Context) {
		local.Run(ctx, path, func(err error) { n.stateWritten("limits", err) })
	})
	if n.redis == nil {
		n.setStore(admin.StoreStatus{Kind: "embedded", State: storeUp})
		return local
	}
	n.setStore(admin.StoreStatus{Kind: "redis", State: storeUp})
	shared := redisstore.New(n.redis, file.Redis)
	store := embedded.NewFailover(shared, local, n.storeChanged)
	store.UseSecret(secret)
	n.metrics.SetState("limit store", "", storeUp)
	n.run(func(ctx context.Context) {
		var wait sync.WaitGroup
		wait.Go(func() { n.adoptCounts(ctx, shared) })
		store.Run(ctx)
		wait.Wait()
		shared.Close()
	})
	// Until Redis has answered this node counts by itself and knows nothing of
	// the others: better to begin a moment later.
	for end := time.Now().Add(firstAnswer); store.Down() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return store
}

// adoptCounts joins what a relay of an older version has counted in Redis under
// other spellings of senders and users, as soon as Redis answers.
func (n *Node) adoptCounts(ctx context.Context, shared *redisstore.Store) {
	again := time.NewTicker(adoptEvery)
	defer again.Stop()
	for {
		err := shared.Adopt(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.log.Debug("counts of other spellings are not joined yet", "err", err)
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// adoptEvery is the time between tries while Redis does not answer.
const adoptEvery = 5 * time.Second

// firstAnswer is how long the start waits for Redis.
const firstAnswer = time.Second

// States of the shared store, as metrics name them.
const (
	storeUp   = "up"
	StoreAway = "away"
)

// storeChanged is one log line and one metric for each change.
func (n *Node) storeChanged(c embedded.StoreChange) {
	if c.Down {
		n.setStore(admin.StoreStatus{Kind: "redis", State: StoreAway, Err: c.Err.Error()})
		n.metrics.SetState("limit store", storeUp, StoreAway)
		n.log.Error("Redis is away, limits go on as on_store_failure says", "err", c.Err)
		return
	}
	n.setStore(admin.StoreStatus{Kind: "redis", State: storeUp})
	n.metrics.SetState("limit store", StoreAway, storeUp)
	n.log.Warn("Redis is back", "away", c.Away.Round(time.Millisecond).String(), "charges_added", c.Added)
}
