package main

import (
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

func TestRelayFirewallPrintsRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.toml")
	writeFile(t, path, strings.Replace(newReceivers(t).config(""), "port = ", "port = 25\n#", 1))
	for _, row := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, cli.OK, `tcp dport { 25 } meta skuid { "postern" } accept`},
		{[]string{"-user", "relay", "-user", "postfix"}, cli.OK, `tcp dport { 25 } meta skuid { "relay", "postfix" } accept`},
		{[]string{"-address", "172.18.0.2"}, cli.OK, "ip saddr 172.18.0.2 tcp dport { 25 } accept"},
		{[]string{"-address", "x"}, cli.Usage, ""},
		{[]string{"-user", `x" } accept #`}, cli.Usage, ""},
	} {
		status, out, _ := runVerb("", append([]string{"firewall", "-config", path}, row.args...)...)
		if status != row.status || !strings.Contains(out, row.says) || status != cli.OK && out != "" {
			t.Errorf("%q: status %d\n%s", row.args, status, out)
		}
	}
}
