package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/config"
	"postern/internal/phrase"
	"postern/internal/shell"
	"postern/ratelimit/redisstore"
	"postern/reputation/identity"
)

// redisCommand is one that a relay uses, with arguments that do no harm. KEY
// stands for a key of the check's own.
type redisCommand struct {
	name string // as an ACL has it
	args string
}

// redisCommands are those that docs/redis.md lists, by what needs them.
func redisCommands(cluster, passwords, exchangers bool) []redisCommand {
	all := []redisCommand{
		{"ping", ""}, {"hello", ""}, {"select", "0"}, {"time", ""},
		{"eval", "return{} 1 KEY"}, {"evalsha", strings.Repeat("0", 40) + " 1 KEY"}, {"scan", "0 COUNT 1"},
		{"set", "KEY:s 1 PX 60000"}, {"get", "KEY:s"}, {"getrange", "KEY:s 0 0"}, {"setrange", "KEY:s 0 1"}, {"pttl", "KEY:s"},
		{"hset", "KEY:h f 1"}, {"hsetnx", "KEY:h f 1"}, {"hget", "KEY:h f"}, {"hgetall", "KEY:h"}, {"hdel", "KEY:h f"}, {"pexpire", "KEY:h 60000"},
		{"zadd", "KEY:z 1 m"}, {"zcard", "KEY:z"}, {"zremrangebyscore", "KEY:z 0 1"},
		{"xadd", "KEY:x MAXLEN ~ 1 * f 1"}, {"xread", "COUNT 1 STREAMS KEY:x 0"}, {"xrange", "KEY:x - + COUNT 1"}, {"xrevrange", "KEY:x + - COUNT 1"},
		{"setnx", "KEY:s 1"},
	}
	if passwords {
		all = append(all, redisCommand{"lpush", "KEY:l 1"}, redisCommand{"ltrim", "KEY:l 0 0"}, redisCommand{"lrange", "KEY:l 0 0"})
	}
	if exchangers {
		all = append(all, redisCommand{"hmget", "KEY:h f"}, redisCommand{"zrem", "KEY:z m"}, redisCommand{"zrangebyscore", "KEY:z 0 1"})
	}
	if cluster {
		all = append(all, redisCommand{"cluster|slots", ""})
	}
	return append(all, redisCommand{"del", "KEY:s KEY:h KEY:z KEY:x KEY:l"})
}

// words is the command as it is sent.
func (c *redisCommand) words(key string) (words []any) {
	for _, w := range strings.Fields(strings.ReplaceAll(c.name, "|", " ") + " " + strings.ReplaceAll(c.args, "KEY", key)) {
		words = append(words, w)
	}
	return words
}

// redisPatience is how long a command may take here.
const redisPatience = 5 * time.Second

// tryRedis logs in and runs each command that the relay will run, on each master
// of a Cluster.
func tryRedis(ctx context.Context, f *config.File) []identity.Finding {
	if !f.Redis.Enabled() {
		return nil
	}
	found := identity.Finding{Check: "redis", Subject: strings.Join(f.Redis.Addresses, ", "), Status: identity.Fail, Asked: "each command of its ACL"}
	cfg := f.Redis
	cfg.Timeout = redisPatience // what is slow is told, and not taken for away
	client, err := redisstore.NewClient(cfg)
	if err == nil {
		defer client.Close()
		err = client.Ping(ctx).Err()
	}
	if err != nil && !isNoPerm(err) {
		found.Seen, found.Change = phrase.Printable(err.Error()), "see that the server answers from here, and correct address, username, password or TLS in [redis]"
		return []identity.Finding{found}
	}
	cluster, ok := client.(*redis.ClusterClient)
	exchangers := false
	for _, up := range f.Upstream {
		exchangers = exchangers || up.MX
	}
	commands := redisCommands(ok, len(f.User) > 0, exchangers)
	var all []identity.Finding
	try := func(ctx context.Context, c redis.UniversalClient, address string) {
		found := found
		found.Subject = address
		all = append(all, tryCommands(ctx, c, checkKey(ctx, cluster, f.Redis.Prefix, address), found, f, commands))
	}
	if !ok {
		try(ctx, client, found.Subject)
		return all
	}
	// One after the other: try appends.
	masters := []*redis.Client{}
	done := make(chan *redis.Client, 1000)
	err = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error { done <- c; return nil })
	close(done)
	for c := range done {
		masters = append(masters, c)
	}
	if err != nil || len(masters) == 0 {
		found.Seen, found.Change = fmt.Sprintf("the nodes of the Cluster cannot be told: %v", err), "see that its nodes answer from here"
		return []identity.Finding{found}
	}
	for _, c := range masters {
		try(ctx, c, c.Options().Addr)
	}
	return all
}

func tryCommands(ctx context.Context, c redis.UniversalClient, key string, found identity.Finding, f *config.File, commands []redisCommand) identity.Finding {
	var rights, lacks []string
	var slowest time.Duration
	for i := range commands {
		start := time.Now()
		err := c.Do(ctx, commands[i].words(key)...).Err()
		slowest = max(slowest, time.Since(start))
		switch {
		case err == nil || errors.Is(err, redis.Nil):
		case isNoPerm(err) && strings.Contains(err.Error(), "key"):
			lacks = append(lacks, commands[i].name+" on keys of the prefix")
			rights = []string{"~" + f.Redis.Prefix + ":*"}
		case isNoPerm(err):
			lacks = append(lacks, commands[i].name)
			rights = append(rights, "+"+commands[i].name)
		case wasRun(err):
		default:
			found.Seen, found.Change = commands[i].name+": "+phrase.Printable(err.Error()), redisRemedy(err)
			return found
		}
	}
	if len(lacks) > 0 {
		found.Seen = "NOPERM: " + strings.Join(lacks, ", ")
		found.Change = "let it, as an administrator: " + aclCommand(found.Subject, f.Redis.Username, rights)
		return found
	}
	found.Status = identity.Pass
	found.Seen = fmt.Sprintf("answers, and takes all %d commands that the relay uses, the slowest in %v", len(commands), slowest.Round(time.Millisecond/10))
	if slowest > f.Redis.Timeout {
		found.Status, found.Change = identity.Warn, fmt.Sprintf("look for what makes it slow: after %v a decision goes on without it", f.Redis.Timeout)
	}
	return found
}

func isNoPerm(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// wasRun reports whether an error says that Redis looked for a script and had
// none, or that another node of a Cluster has the key.
func wasRun(err error) bool {
	return redis.HasErrorPrefix(err, "NOSCRIPT") || redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK")
}

// redisRemedy says what to do about a server that did not run a command.
func redisRemedy(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	switch {
	case !isAnswer(err):
		return "see why the server stopped answering"
	case word == "READONLY" || word == "MASTERDOWN":
		return "this is a replica: name its master, or the Sentinels, in [redis] addresses"
	case word == "OOM":
		return "the server is full and refuses to write: give it more maxmemory"
	case word == "MISCONF":
		return "the server cannot save to its disk and refuses to write: see its log"
	case word == "NOREPLICAS":
		return "the server writes only while it has min-replicas-to-write replicas: see to them"
	case word == "CLUSTERDOWN":
		return "some slots of the Cluster have no master: see to its nodes"
	case word == "LOADING":
		return "wait until the server has read its data, and try again"
	case word == "BUSY":
		return "a script keeps the server busy: end it by SCRIPT KILL"
	}
	return "see that the server knows the command, and has not renamed it (rename-command)"
}

// isAnswer reports whether an error is the server's.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// checkKey is a name for keys of the check's own; in a Cluster one that the node
// has itself, so that it runs what it is sent.
func checkKey(ctx context.Context, cluster *redis.ClusterClient, prefix, address string) string {
	now := time.Now().UnixNano()
	for n := range int64(10000) {
		key := fmt.Sprintf("%s:check:{%d}", prefix, now+n)
		if cluster == nil {
			return key
		}
		if node, err := cluster.MasterForKey(ctx, key); err == nil && node.Options().Addr == address {
			return key
		}
	}
	return fmt.Sprintf("%s:check:{%d}", prefix, now)
}

// aclCommand gives a user more rights.
func aclCommand(address, user string, rights []string) string {
	if user == "" {
		user = "default"
	}
	words := []string{"redis-cli"}
	if host, port, err := net.SplitHostPort(address); err == nil {
		words = append(words, "-h", host, "-p", port)
	}
	return shell.Command(append(append(words, "ACL", "SETUSER", user), rights...)...)
}
