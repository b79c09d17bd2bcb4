// Package bruteforce counts wrong passwords for all nodes together, in Redis. An
// attacker who may guess ten times at each of five nodes may guess fifty times. The
// wrong passwords of one address suspend it, those of one user make each further
// try wait. What the counts mean is for package auth to say; a single node counts
// by auth.NewLocal.
package bruteforce

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/auth"
)

// Redis counts wrong passwords for all nodes together.
type Redis struct {
	client  redis.UniversalClient
	prefix  string
	cfg     auth.Config
	timeout time.Duration
}

// failedScript keeps the times of the last wrong passwords of an address
// (KEYS[1], empty for none) and of a user (KEYS[2]), newest first, and the
// suspension of the address (KEYS[3]). ARGV: the period and the length of a
// suspension in milliseconds, the count that suspends, how many of a user's are
// worth counting, and whether there is an address. It returns both counts and
// what is left of the suspension. All keys share a hash slot and expire.
var failedScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local period, suspend, many, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function add(key, keep)
  redis.call('LPUSH', key, now)
  redis.call('LTRIM', key, 0, keep - 1)
  redis.call('PEXPIRE', key, period)
  local n = 0
  for _, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
    if now - tonumber(at) < period then n = n + 1 end
  end
  return n
end
local users, addrs = add(KEYS[2], most), 0
if ARGV[5] == '1' then
  addrs = add(KEYS[1], many)
  if addrs >= many then
    redis.call('SET', KEYS[3], '1', 'PX', suspend)
    redis.call('DEL', KEYS[1])
  end
end
return {addrs, users, math.max(0, redis.call('PTTL', KEYS[3]))}
`)

// worthCounting is how many wrong passwords of a user are kept: the wait is at
// its longest long before.
const worthCounting = 20

// New counts in the node's Redis.
func New(client redis.UniversalClient, prefix string, timeout time.Duration, cfg auth.Config) *Redis {
	return &Redis{client: client, prefix: prefix + ":{auth}:", cfg: cfg, timeout: timeout}
}

// Failed is auth.WrongPasswords.Failed.
func (g *Redis) Failed(ctx context.Context, addr netip.Prefix, user string) (auth.Count, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	known := "0"
	if addr.IsValid() {
		known = "1"
	}
	keys := []string{g.prefix + "addr:" + addr.String(), g.prefix + "user:" + user, g.suspension(addr)}
	v, err := failedScript.Run(ctx, g.client, keys, g.cfg.SuspendAfter.Period.Milliseconds(), g.cfg.SuspendFor.Milliseconds(),
		g.cfg.SuspendAfter.N, worthCounting, known).Int64Slice()
	if err != nil {
		return auth.Count{}, fmt.Errorf("count a wrong password in Redis: %w", err)
	}
	if len(v) != 3 {
		return auth.Count{}, fmt.Errorf("count a wrong password in Redis: answer of %d numbers", len(v))
	}
	return auth.Count{Addr: int(v[0]), User: int(v[1]), Suspended: time.Duration(v[2]) * time.Millisecond}, nil
}

// Suspended is auth.WrongPasswords.Suspended.
func (g *Redis) Suspended(ctx context.Context, addr netip.Prefix) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	left, err := g.client.PTTL(ctx, g.suspension(addr)).Result()
	if err != nil {
		return 0, fmt.Errorf("look for a suspension in Redis: %w", err)
	}
	return max(0, left), nil
}

func (g *Redis) suspension(addr netip.Prefix) string {
	return g.prefix + "suspended:" + addr.String()
}
