package embedded

import (
	"context"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/recipients"
	"postern/ratelimit/redisstore"
)

// openRedis is a shared store on a server, with a long time: a machine that runs
// tests may be slow.
func openRedis(t *testing.T, addr string, timeout time.Duration) *redisstore.Store {
	t.Helper()
	var cfg redisstore.Config
	cfg.SetDefaults()
	cfg.Addresses, cfg.Timeout = []string{addr}, timeout
	client, err := redisstore.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := redisstore.New(client, cfg)
	t.Cleanup(func() {
		r.Close()
		client.Close()
	})
	return r
}

// asked is a store that keeps nothing but the secret that it is given.
type asked struct {
	ratelimit.Store
	own string
}

func (a *asked) Agree(_ context.Context, own, _ string) (string, error) {
	a.own = own
	return own, nil
}

// textOf is the text of a secret.
func textOf(t *testing.T, s *recipients.Secret) string {
	t.Helper()
	var a asked
	if err := s.Agree(t.Context(), a.Agree); err != nil {
		t.Fatal(err)
	}
	return a.own
}
