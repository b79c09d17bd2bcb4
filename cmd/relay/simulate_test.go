package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/mail"
)

const tunedFile = `hostname = "relay.example.org"
state_dir = "state"

[listener.mta]
address = "127.0.0.1:2525"

[client.shop]
networks = ["192.0.2.0/28"]
senders = ["@example.org"]
stream = "main"

[stream.main]
upstream = "capture"

[upstream.capture]
capture = "outbox"

[journal]
file = "journal.jsonl"
`

const tunedLimits = `
[limit.client]
per = "client"
messages = ["1000/1h"]

[limit.sender]
per = "sender"
messages = ["20/1h"]
`

// tuned makes a folder with a configuration and the journal of some weeks, and
// goes there.
func tuned(t *testing.T, limits string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"relay.toml": tunedFile + tunedLimits, "new.toml": tunedFile + limits} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The first half has been rotated.
	writeEvents(t, "journal.jsonl.20261101T000000.000000Z", 0, 300)
	writeEvents(t, "journal.jsonl", 300, 600)
}

// writeEvents writes some transactions of one client, three minutes apart:
// every tenth a newsletter of five messages in one moment.
func writeEvents(t *testing.T, file string, from, to int) {
	t.Helper()
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for i := from; i < to; i++ {
		at := time.Date(2026, 10, 31, 9, 0, 0, 0, time.UTC).Add(time.Duration(i) * 3 * time.Minute)
		sender, n := fmt.Sprintf("person%d@example.org", i%7), 1
		if i%10 == 0 {
			sender, n = "bounce+a=b@example.org", 5
		}
		for j := range n {
			if err := lines.Encode(pastEvent(at, sender, fmt.Sprintf("reader%d@dest.example", j))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pastEvent(at time.Time, sender, to string) *mail.Event {
	return &mail.Event{
		Time: at, Duration: time.Second, ID: "x", Client: "shop", ClientIP: "192.0.2.1", Listener: "mta", Stream: "main", From: sender,
		To:   []mail.RecipientEvent{{Address: to, Outcome: mail.Relayed, Code: 250, Rule: "upstream"}},
		Size: 5000, Stage: "forward", Outcome: mail.Relayed, Code: 250, Rule: "upstream", Upstream: "capture",
	}
}

// runOK runs a command that must succeed, and returns what it printed.
func runOK(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, args); status != cli.OK {
		t.Fatalf("%s: status %d\n%s", strings.Join(args, " "), status, errs.String())
	}
	return out.String()
}

func TestSimulateTellsWhatLimitsWouldRefuse(t *testing.T) {
	tuned(t, strings.Replace(tunedLimits, "20/1h", "4/1h", 1)+"[limit.idle]\nper = \"user\"\nabsent = \"skip\"\nmessages = [\"1/1h\"]\n")
	got := runOK(t, "simulate", "-config", "new.toml")
	for _, want := range []string{
		"840 transactions from 2026-10-31 09:00:00 to 2026-11-01 14:57:01 UTC; 840 of them reached the limits, with 840 recipients.",
		"Limits refused 0 recipients then and would refuse ",
		"messages in 1h  4        4     100%  2026-10-31 09:00:00  sender=bounce+a=b@example.org\n",
		"No mail counted for: idle, null_sender:shop\n",
		"First refusals of limit sender, that passed then:\n  2026-10-31 09:00:00  client shop, sender bounce+a=b@example.org: 4 messages in 1h on sender=bounce+a=b@example.org\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if same := runOK(t, "simulate", "-config", "relay.toml"); !strings.Contains(same, "would refuse 0 now") {
		t.Errorf("under the limits of then:\n%s", same)
	}
}

func TestSimulatePrintsJSON(t *testing.T) {
	tuned(t, strings.Replace(tunedLimits, "20/1h", "4/1h", 1))
	var r struct {
		Transactions  int64
		Newly_refused int64
		Limits        []struct {
			Name    string
			Windows []struct {
				Window string
				Top    []struct{ Used, Max int64 }
			}
		}
		Senders []struct {
			Sender        string
			Newly_refused int64
		}
	}
	if err := json.Unmarshal([]byte(runOK(t, "simulate", "-json", "-config", "new.toml")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Transactions != 840 || r.Newly_refused == 0 || len(r.Senders) != 1 || r.Senders[0].Sender != "bounce+a=b@example.org" ||
		r.Senders[0].Newly_refused != r.Newly_refused || len(r.Limits) != 3 || r.Limits[2].Windows[0].Top[0].Used != 4 {
		t.Errorf("%+v", r)
	}
}

func TestSimulateFindsClientsOfAnotherName(t *testing.T) {
	tuned(t, tunedLimits)
	renamed := strings.Replace(tunedFile, "[client.shop]", "[client.store]", 1) + "[limit.store]\nper = \"client\"\nclients = [\"store\"]\nmessages = [\"1/1h\"]\n"
	write := func(text string) {
		if err := os.WriteFile("new.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(renamed)
	if got := runOK(t, "simulate", "-config", "new.toml"); !strings.Contains(got, "client=store") || strings.Contains(got, "is none of this") {
		t.Errorf("%s", got)
	}
	write(strings.Replace(renamed, "192.0.2.0/28", "198.51.100.0/28", 1))
	if got := runOK(t, "simulate", "-config", "new.toml"); !strings.Contains(got, "Client shop, with 840 transactions, is none of this configuration") {
		t.Errorf("%s", got)
	}
}

func TestSimulateReadsSeveralJournals(t *testing.T) {
	tuned(t, tunedLimits)
	writeEvents(t, "other.jsonl", 100, 200)
	got := runOK(t, "simulate", "-config", "new.toml", "-journal", "journal.jsonl", "-journal", "other.jsonl", "journal.jsonl")
	if !strings.Contains(got, "980 transactions") {
		t.Errorf("%s", got)
	}
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	os.WriteFile(empty, nil, 0o600)
	if got := runOK(t, "simulate", "-config", "new.toml", empty); got != "The journal holds no transaction.\n" {
		t.Errorf("%s", got)
	}
}

func TestSuggestedLimitsHoldThePast(t *testing.T) {
	tuned(t, "")
	for _, args := range [][]string{{"-listed", "2"}, {"-units", "messages,recipients,bytes,distinct_recipients", "-windows", "1m,1h"}, {"-listed", "0", "-headroom", "1"}} {
		text := runOK(t, append([]string{"suggest", "-config", "relay.toml"}, args...)...)
		if err := os.WriteFile("new.toml", []byte(tunedFile+text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, _, err := config.Load("new.toml")
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if len(file.Limit) != 2 {
			t.Errorf("%d limits in\n%s", len(file.Limit), text)
		}
		if got := runOK(t, "simulate", "-config", "new.toml"); !strings.Contains(got, "would refuse 0 now") {
			t.Errorf("%s\nunder\n%s", got, text)
		}
	}
	text := runOK(t, "suggest", "-config", "relay.toml", "-units", "messages", "-headroom", "2")
	for _, want := range []string{
		"with 2 times the highest use", "[limit.client]\n", "per = \"sender\"\n", `"sender=bounce+a=b@example.org" = { messages = ["10/1m", "20/1h", "480/24h"] }`,
		"# bounce+a=b@example.org: messages 5 in 1m (2026-10-31 09:00:00), 10 in 1h (2026-10-31 09:30:00), 240 in 24h",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	var r struct {
		Senders []struct {
			Name    string
			Windows []struct{ Used, Limit int64 }
		}
	}
	if err := json.Unmarshal([]byte(runOK(t, "suggest", "-json", "-config", "relay.toml")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Senders) != 8 || r.Senders[0].Name != "bounce+a=b@example.org" || r.Senders[0].Windows[0].Used != 5 || r.Senders[0].Windows[0].Limit != 8 {
		t.Errorf("%+v", r)
	}
}

func TestSuggestWithoutMail(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"suggest", "-journal", "-"}); status != cli.OK || !strings.HasPrefix(out.String(), "# The journal holds no mail") {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
}

func TestTuningCommandsRefuse(t *testing.T) {
	t.Setenv(cli.ConfigEnv, "none.toml")
	tuned(t, tunedLimits)
	if err := os.WriteFile("broken.jsonl", []byte("{\n{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args   string
		status int
		says   string
	}{
		{"simulate", cli.Usage, "none.toml: no such file"},
		{"simulate -config missing.toml", cli.Usage, "missing.toml"},
		{"simulate -config new.toml -journal broken.jsonl", cli.Fault, "broken.jsonl:1: not a journal line"},
		{"simulate -config new.toml -journal missing.jsonl", cli.Usage, "missing.jsonl"},
		{"suggest", cli.Usage, "none.toml: no such file"},
		{"suggest -config relay.toml -headroom 0.5", cli.Usage, "-headroom"},
		{"suggest -config relay.toml -headroom NaN", cli.Usage, "-headroom"},
		{"suggest -config relay.toml -windows 1y", cli.Usage, "not a window"},
		{"suggest -config relay.toml -units mails", cli.Usage, "-units"},
		{"import", cli.Usage, "postfix-policyd-rate-limit, iredapd, rspamd-ratelimit"},
		{"import sendmail relay.toml", cli.Fault, "unknown"},
		{"import iredapd missing.sql", cli.Usage, "missing.sql"},
		{"import iredapd relay.toml", cli.Fault, "no limit was found"},
	} {
		var out, errs bytes.Buffer
		status := run(cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, strings.Fields(row.args))
		if status != row.status || !strings.Contains(errs.String(), row.says) {
			t.Errorf("%s: status %d, %s", row.args, status, errs.String())
		}
	}
}

func TestImportedLimitsLoad(t *testing.T) {
	tuned(t, tunedLimits)
	for format, text := range importSamples {
		var out, errs bytes.Buffer
		if status := run(cli.IO{In: strings.NewReader(text), Out: &out, Err: &errs}, []string{"import", format, "-"}); status != cli.OK {
			t.Fatalf("%s: status %d, %s", format, status, errs.String())
		}
		if err := os.WriteFile("new.toml", []byte(tunedFile+out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		file, _, err := config.Load("new.toml")
		if err != nil || len(file.Limit) == 0 {
			t.Errorf("%s: %v, %s", format, err, out.String())
		}
	}
}

var importSamples = map[string]string{
	"postfix-policyd-rate-limit": "limits:\n    - [10, 60]\n    - [150, 86400]\nlimits_by_id:\n    shop:\n        - [20, 60]\nlimit_by_sasl: True\nlimit_by_ip: True\nlimited_networks: [\"0.0.0.0/0\"]\n",
	"iredapd":                    "INSERT INTO `throttle` VALUES (1,'@.','outbound',0,3600,-1,100,-1),(2,'a@example.org','outbound',100,60,-1,10,1000000);\n",
	"rspamd-ratelimit":           "rates {\n  user = { bucket = { burst = 100; rate = \"20 / 1h\"; } }\n  to = \"5 / 1m\";\n}\n",
}

// TestTuningPageRuns runs the commands that docs/tuning.md shows, in its order.
func TestTuningPageRuns(t *testing.T) {
	page := string(readFile(t, "../../docs/tuning.md"))
	commands := regexp.MustCompile(`(?m)^    relay (.*)$`).FindAllStringSubmatch(page, -1)
	if len(commands) < 6 {
		t.Fatalf("%d commands", len(commands))
	}
	tuned(t, tunedLimits)
	writeEvents(t, "node2.jsonl", 10, 20)
	for file, format := range map[string]string{"policyd-rate-limit.yaml": "postfix-policyd-rate-limit", "throttle.sql": "iredapd", "ratelimit.conf": "rspamd-ratelimit"} {
		if err := os.WriteFile(file, []byte(importSamples[format]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range commands {
		command, _, _ := strings.Cut(c[1], " | ")
		command, file, into := strings.Cut(command, " > ")
		out := runOK(t, strings.Fields(command)...)
		if into {
			if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out == "" {
			t.Errorf("%q prints nothing", command)
		}
	}
}
