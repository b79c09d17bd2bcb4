package redistest

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerKeepsDataOnlyWhereAsked(t *testing.T) {
	ctx := t.Context()
	s := Start(t, "appendonly yes")
	must(t, s.Client().Set(ctx, "k", "v", 0).Err())
	s.Kill()
	s.Restart()
	if got, err := s.Client().Get(ctx, "k").Result(); got != "v" {
		t.Errorf("after a kill: %q, %v", got, err)
	}
	s.Stop()
	s.Wipe()
	s.Restart()
	if n := s.Client().DBSize(ctx).Val(); n != 0 {
		t.Errorf("after Wipe: %d keys", n)
	}
}

func TestPausedServerAnswersNothing(t *testing.T) {
	s := Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer c.Close()
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("it answered while stopped")
	}
	s.Resume()
	if err := s.Client().Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestServerSpeaksTLS(t *testing.T) {
	s := StartTLS(t, "requirepass secret")
	if err := s.Client().Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestClusterKnowsItsNodes(t *testing.T) {
	c := StartCluster(t)
	rc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()[:1]})
	defer rc.Close()
	for _, key := range []string{"a", "b", "c", "d"} {
		must(t, rc.Set(t.Context(), key, key, 0).Err())
		if got := c.Of(t, key).Client().Get(t.Context(), key).Val(); got != key {
			t.Errorf("the node of %q has %q", key, got)
		}
	}
}

func TestSentinelsPromoteTheReplica(t *testing.T) {
	s := StartSentinel(t)
	s.Master.Kill()
	s.WaitForPromotion(t)
	must(t, s.Replica.Client().Set(t.Context(), "k", "v", 0).Err())
}

func TestProxyLosesReplies(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr)
	c := redis.NewClient(&redis.Options{Addr: p.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer c.Close()
	must(t, c.Set(t.Context(), "n", 1, 0).Err())
	p.LoseReplies(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Incr(ctx, "n").Err(); err == nil {
		t.Error("the reply came through")
	}
	p.LoseReplies(false)
	eventually(t, "the request was lost, too", func() bool { return s.Client().Get(t.Context(), "n").Val() == "2" })
	p.Refuse(true)
	p.Reset()
	if c.Incr(t.Context(), "n").Err() == nil {
		t.Error("a connection that was refused answered")
	}
}
