package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// TestPostfixGoesOnWhenASessionEnds: Postfix keeps its connections and sends one
// message after another. A session that ends after three defers none of them.
func TestPostfixGoesOnWhenASessionEnds(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	p := startRelay(t, basic(up, "[session]\nmax_messages = 3\n"))
	mta := startPostfix(t, p.address("mta"), "smtp_connection_cache_destinations = static:all", "smtp_connection_cache_on_demand = yes",
		"default_destination_concurrency_limit = 1") // one message after the other
	const messages = 20
	for i := range messages {
		if err := mta.send("a@example.org", []string{fmt.Sprintf("b%d@dest.example", i)}, testMessage("a@example.org", "x")); err != nil {
			t.Fatal(err)
		}
	}
	upstreamMessages(t, up, messages)
	eventually(t, "the queue is empty", func() bool { return mta.queued() == 0 })
	if got := len(up.Messages()); got != messages {
		t.Errorf("%d messages at the upstream, want %d", got, messages)
	}
	mta.logs("conn_use=3") // else Postfix has used no connection to its end, and this shows nothing
	log, err := os.ReadFile(filepath.Join(filepath.Dir(mta.config), "maillog"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "status=deferred") {
		t.Error("Postfix has deferred mail")
	}
}
