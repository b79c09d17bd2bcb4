package redisstore

import (
	"os"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/ratelimit/storetest"
)

func TestRedisOfAnOlderVersionIsJoined(t *testing.T) {
	bed := simulated(t, redisSettings(redistest.Start(t).Addr))
	r := bed.Store.(*Store)
	l := storetest.OlderCounts(t, bed)
	for _, name := range []string{"once", "twice"} {
		if err := r.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		storetest.Joined(t, l, name)
	}
}

func TestRedisOfBeforeTheSecret(t *testing.T) {
	bed, c := simulatedServer(t)
	for _, limit := range []string{"exact", "sample"} {
		b, err := os.ReadFile("testdata/unkeyed-" + limit + ".redis")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), "postern:b:"+limit+":{client=shop}", b, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Upgraded(t, bed)
}
