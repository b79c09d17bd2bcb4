package node

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/api"
	"postern/reputation/bygroup"
)

const directConfig = `
[client.direct]
networks = ["10.2.0.0/16"]
senders = ["@direct.example"]
stream = "direct"
[stream.direct]
upstream = "world"
source_ip = ["127.0.0.9"]
[upstream.world]
mx = true
[upstream.world.warmup]
providers = ["google"]
[provider.google]
rate = "60/1m"
`

// TestGroupsOfReceiversAreTold: what waits, what a group is given and how far a new
// address has come, in the API and on the page, to each role what it may see; one row a
// group, whatever domains there are.
func TestGroupsOfReceiversAreTold(t *testing.T) {
	a := startAPI(t, directConfig)
	const evil = "<script>alert(1)</script>\u202e <victim@dest.example>"
	for i := range 10_000 {
		a.receivers.backoff.Groups.Refused(&bygroup.Refusal{Stream: "direct", Client: "direct", Group: "google", Domain: fmt.Sprintf("d%d.example", i), At: "connect", Reply: "421 4.7.28 " + evil})
	}
	a.receivers.backoff.Groups.Refused(&bygroup.Refusal{Stream: "gone", Client: "direct", Group: "yahoo", Domain: "d.example", At: "connect", Reply: "421"})
	var p api.Page[api.Provider]
	status, _, text := a.port.ask(t, "GET", "/api/v1/providers", a.tokens[access.Operate], "")
	if err := json.Unmarshal([]byte(text), &p); status != 200 || err != nil || len(p.Items) != 1 {
		t.Fatalf("%d %s %v", status, text, err)
	}
	g := p.Items[0]
	if g.Upstream != "world" || g.Provider != "google" || g.MaxConnections != 5 || g.Pace != "60/1m" || len(g.Waits) != 1 || g.Waits[0].Stream != "direct" || g.Waits[0].Until.IsZero() || !strings.Contains(g.Waits[0].Reply, "victim@") {
		t.Errorf("%+v", g)
	}
	for role, hidden := range map[access.Role]bool{access.View: true, access.Operate: false, access.Admin: false} {
		page := a.login(t, role)
		_, text, _ := page.get(t, "/part/upstreams")
		for _, want := range []string{"google", "0 of 5 connections", "pace 60/1m", "mail of stream <bdi>direct</bdi>", "4.7.28 &lt;script&gt;"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", role, want, text)
			}
		}
		if strings.Contains(text, "victim@") == hidden || strings.Contains(text, "<script>") || strings.Contains(text, "\u202e") {
			t.Errorf("%s: %s", role, text)
		}
	}
	if status, _, _ := a.port.ask(t, "GET", "/api/v1/providers", a.tokens[access.Owner], ""); status != 403 {
		t.Errorf("an owner: %d", status)
	}
	if _, text, _ := a.login(t, access.Owner).get(t, "/part/upstreams"); strings.Contains(text, "google") {
		t.Errorf("an owner sees %s", text)
	}
}
