package redistest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is three masters that share the 16384 slots.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a Cluster of three masters without replicas, and waits
// until all of them say that it is complete.
func StartCluster(t testing.TB, lines ...string) *Cluster {
	t.Helper()
	c := &Cluster{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lines = append([]string{
		"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 3000",
		"cluster-announce-ip 127.0.0.1",
	}, lines...)
	for range 3 {
		c.Nodes = append(c.Nodes, Start(t, lines...))
	}
	const slots = 16384
	for i, n := range c.Nodes {
		rc := n.Client()
		must(t, rc.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		must(t, rc.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
		for _, other := range c.Nodes[:i] {
			must(t, rc.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", other.Port).Err())
		}
	}
	for _, n := range c.Nodes {
		eventually(t, "the Cluster is not complete", func() bool {
			info := n.Client().ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return c
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

// Of is the node that holds a key.
func (c *Cluster) Of(t testing.TB, key string) *Server {
	t.Helper()
	slot, err := c.Nodes[0].Client().ClusterKeySlot(context.Background(), key).Result()
	must(t, err)
	//lint:ignore SA1019 CLUSTER SHARDS needs a server of Redis 7
	ranges, err := c.Nodes[0].Client().ClusterSlots(context.Background()).Result()
	must(t, err)
	for _, r := range ranges {
		for _, n := range c.Nodes {
			if int(slot) >= r.Start && int(slot) <= r.End && r.Nodes[0].Addr == n.Addr {
				return n
			}
		}
	}
	t.Fatalf("no node holds %q", key)
	return nil
}

// Sentinel is a master and its replica, watched by three Sentinels.
type Sentinel struct {
	Master    *Server // at the start; after a failover it is the replica's replica
	Replica   *Server
	Sentinels []*Server
	Name      string // under which the Sentinels know the master
}

// StartSentinel starts five processes and waits until the replica is in step
// and the Sentinels know one another.
func StartSentinel(t testing.TB, lines ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{Name: "relay"}
	s.Master = Start(t, append([]string{"repl-diskless-sync-delay 0"}, lines...)...)
	s.Replica = Start(t, append([]string{"replicaof 127.0.0.1 " + port(s.Master)}, lines...)...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	eventually(t, "the replica is not in step", func() bool {
		return strings.Contains(s.Replica.Client().Info(ctx, "replication").Val(), "master_link_status:up")
	})
	for range 3 {
		s.Sentinels = append(s.Sentinels, start(t, t.TempDir(), []string{
			"sentinel monitor relay 127.0.0.1 " + port(s.Master) + " 2",
			"sentinel down-after-milliseconds relay 1000",
			"sentinel failover-timeout relay 5000",
			"sentinel parallel-syncs relay 1",
		}, true, nil))
	}
	for _, one := range s.Sentinels {
		c := redis.NewSentinelClient(one.plain)
		eventually(t, "the Sentinels do not know one another", func() bool {
			info, err := c.Master(ctx, s.Name).Result()
			return err == nil && info["num-other-sentinels"] == "2" && info["num-slaves"] == "1"
		})
		c.Close()
	}
	return s
}

// Addrs are the addresses of the Sentinels.
func (s *Sentinel) Addrs() []string {
	var addrs []string
	for _, one := range s.Sentinels {
		addrs = append(addrs, one.Addr)
	}
	return addrs
}

// WaitForPromotion waits until the replica is the master and all Sentinels say so.
func (s *Sentinel) WaitForPromotion(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	eventually(t, "the replica was not promoted", func() bool {
		return strings.Contains(s.Replica.Client().Info(ctx, "replication").Val(), "role:master")
	})
	for _, one := range s.Sentinels {
		c := redis.NewSentinelClient(one.plain)
		eventually(t, "a Sentinel has not heard of the new master", func() bool {
			addr, err := c.GetMasterAddrByName(ctx, s.Name).Result()
			return err == nil && strings.Join(addr, ":") == s.Replica.Addr
		})
		c.Close()
	}
}

func port(s *Server) string { return s.Addr[strings.LastIndexByte(s.Addr, ':')+1:] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-tick.C
	}
}
