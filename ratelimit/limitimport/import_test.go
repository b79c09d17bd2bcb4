package limitimport

import (
	"bufio"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"postern/ratelimit"
)

// importText imports, and compiles what came out.
func importText(t *testing.T, format, text string) (string, map[string]ratelimit.RuleConfig) {
	t.Helper()
	var b strings.Builder
	if err := Import(format, strings.NewReader(text), &b); err != nil {
		t.Fatal(err)
	}
	var file struct {
		Limit map[string]ratelimit.RuleConfig `toml:"limit"`
	}
	if err := toml.Unmarshal([]byte(b.String()), &file); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	if _, err := ratelimit.Compile(file.Limit, ratelimit.Env{}); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	return b.String(), file.Limit
}

func hasLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in:\n%s", line, text)
		}
	}
}

func TestImportPolicyd(t *testing.T) {
	yaml := `debug: True
user: "policyd-rate-limit"   # not a limit
mysql_config:
    user: "username"
    passwd: "#secret"
limits:
    - [10, 60] # a minute
    - [150, 86400]
    -
      - 5
      - 9999999
limits_by_id:
    "boss@example.org": [[100, 60], [2000, 86400]]
    shop:
      - [20, 60]
    192.0.2.7: [[7, 60]]
    'free': []
limit_by_sasl: True
limit_by_ip: true
limited_networks: ["0.0.0.0/0", "::/0"]
`
	text, limits := importText(t, "postfix-policyd-rate-limit", yaml)
	hasLines(t, text, "[limit.user]\nper = \"user\"\nabsent = \"skip\"\nrecipients = [\"10/1m\", \"150/24h\"]\n",
		"[limit.client_ip]\nper = \"client_ip\"\n", `"user=boss@example.org" = { recipients = ["100/1m", "2000/24h"] }`,
		`"192.0.2.7" = { recipients = ["7/1m"] }`, `"user=shop" = { recipients = ["20/1m"] }`,
		`"user=free" = { recipients = ["100000000000000/1s"] }`, "5 in 9999999 seconds is left out", "every recipient as a mail")
	if strings.Contains(text, "secret") || len(limits["user"].Overrides) != 3 || len(limits["client_ip"].Overrides) != 1 {
		t.Errorf("%s", text)
	}
	python := "limits = [\n  (30, 3600), # an hour\n  (50, 86400),\n]\nlimits_by_id = {'a@b.example': [(1, 60)], \"c\": []}\nlimit_by_sasl = False\nlimit_by_sender = True\n"
	text, _ = importText(t, "postfix-policyd-rate-limit", python)
	hasLines(t, text, "[limit.sender]\nper = \"sender\"\nrecipients = [\"30/1h\", \"50/24h\"]\n", `"a@b.example" = { recipients = ["1/1m"] }`)
}

func TestImportIredapd(t *testing.T) {
	dump := "-- a dump\nINSERT INTO `throttle` VALUES (1,'@.','outbound',0,3600,10240000,100,-1),(2,'it''s@example.org','outbound',100,360,-1,0,1073741824);\n" +
		"INSERT INTO throttle (account, kind, priority, period, max_msgs) VALUES ('@example.org', 'outbound', 60, 86400, 500), ('@.sub.example', 'outbound', 50, 60, 5);\n" +
		"INSERT INTO throttle (account, kind, priority, period, max_msgs, max_rcpts) VALUES ('192.0.2.*', 'outbound', 70, 60, 9, 50), ('@ip','outbound',0,60,8,-1), ('x@y.example','inbound',1,60,1,-1);\n" +
		"INSERT INTO throttle_tracking VALUES (1,1,'a',60,1,1,1,1);\n"
	text, limits := importText(t, "iredapd", dump)
	hasLines(t, text, "[limit.sender]\nper = \"sender\"\nrecipients = [\"100/1h\"]\n",
		`"it's@example.org" = { recipients = ["100000000000000/1s"], bytes = ["1073741824/6m"] }`,
		`"@example.org" = { recipients = ["500/24h"] }`, `"@sub.example" = { recipients = ["5/1m"] }`, `"@*.sub.example" = { recipients = ["5/1m"] }`,
		"[limit.client_ip]\nper = \"client_ip\"\nrecipients = [\"8/1m\"]\n", `"192.0.2.0/24" = { recipients = ["9/1m"] }`,
		"1 rows of kind inbound", "msg_size 10240000", "max_rcpts 50")
	if len(limits) != 2 || len(limits["sender"].Overrides) != 4 {
		t.Errorf("%s", text)
	}
	text, _ = importText(t, "iredapd", "INSERT INTO throttle (account, kind, period, max_msgs) VALUES ('user@*','outbound',60,5),('a+x@example.org','outbound',60,6),('b@example.org','outbound',60,7);\n")
	hasLines(t, text, "# \"user@*\" = { recipients = [\"5/1m\"] }", "# \"a+x@example.org\" = {", "\n\"b@example.org\" = {", "fold_tag = true", "No override here can name this one", "There the SASL user counted")
	table := "id\taccount\tkind\tpriority\tperiod\tmsg_size\tmax_msgs\tmax_quota\n1\ta@example.org\toutbound\t100\t60\t-1\t12\t-1\n"
	text, _ = importText(t, "iredapd", table)
	hasLines(t, text, `"a@example.org" = { recipients = ["12/1m"] }`)
	psql := " id |    account    |   kind   | period | max_msgs\n----+---------------+----------+--------+----------\n  1 | a@example.org | outbound |     60 |       12\n(1 row)\n"
	text, _ = importText(t, "iredapd", psql)
	hasLines(t, text, `"a@example.org" = { recipients = ["12/1m"] }`)
}

func TestImportIredapdFormsOfTheTable(t *testing.T) {
	for name, text := range map[string]string{
		"COPY of pg_dump": "CREATE TABLE public.throttle (\n    id bigint NOT NULL,\n    account text\n);\nCOPY public.throttle (id, account, kind, priority, period, msg_size, max_msgs, max_quota) FROM stdin;\n" +
			"1\t@.\toutbound\t0\t3600\t-1\t100\t\\N\n2\ta@example.org\toutbound\t100\t60\t-1\t30\t1000\n\\.\nCOPY public.other (id, period) FROM stdin;\n1\t5\n\\.\n",
		"CSV":            "account,kind,period,max_msgs,max_quota\n\"@.\",outbound,3600,100,-1\na@example.org,outbound,60,30,1000\n",
		"CSV of Excel":   "Account;Kind;Period;Max_Msgs;Max_Quota\n@.;outbound;3600;100;\na@example.org;outbound;60;30;1000\n",
		"mysql in boxes": "+---------+--+\n| account | period | max_msgs | max_quota |\n+---------+--+\n| @. | 3600 | 100 | NULL |\n| a@example.org | 60 | 30 | 1000 |\n+---------+--+\n2 rows in set\n",
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := importText(t, "iredapd", text)
			hasLines(t, out, "per = \"sender\"\nrecipients = [\"100/1h\"]\n", `"a@example.org" = { recipients = ["30/1m"], bytes = ["1000/1m"] }`)
		})
	}
	out, _ := importText(t, "iredapd", "account\tperiod\tmax_msgs\na@example.org\t60\t30\nb@example.org\tx\t30\n")
	hasLines(t, out, "1 rows could not be read")
}

func TestImportRspamd(t *testing.T) {
	conf := `# local.d/ratelimit.conf
rates {
  user = "20 / 1h";
  ip_from = [100, 0.016666667];   /* burst, leak */
  to_ip = "100 / 1s"
  bounce_to = { bucket = { burst = 10; rate = "2 / 1h"; } }
  by_domain = {
    selector = 'from("smtp"):domain;ip';
    bucket = [
      { burst = 100, rate = "1 / 1m" },
      { burst = 1000, rate = "10 / 1m" }
    ]
  }
  "odd name" { selector = "user.lower"; bucket { burst = 5; rate = 0; } }
}
whitelisted_rcpts = "postmaster,mailer-daemon";
max_rcpt = 5;
whitelisted_user = "/etc/rspamd/users.map";
`
	text, limits := importText(t, "rspamd-ratelimit", "ratelimit {\n"+conf+"}\n")
	hasLines(t, text, "[limit.user]\nper = \"user\"\nabsent = \"skip\"\nrecipients = [\"20/1h\"]\n",
		"[limit.ip_from]\nper = [\"client_ip\", \"sender\"]\nrecipients = [\"100/1h40m\"]\n",
		"[limit.by_domain]\nper = [\"sender_domain\", \"client_ip\"]\nrecipients = [\"100/1h40m\"]\n",
		"# [limit.to_ip]", "null_sender_limit", "max_rcpt = 5", "whitelisted_user is left out", "# [limit.\"odd name\"]", "burst 100, rate 1 / 1m: 100 recipients in 1h40m")
	if len(limits) != 3 {
		t.Errorf("%s", text)
	}
	again, _ := importText(t, "rspamd-ratelimit", conf)
	if again != text {
		t.Error("with and without the name of the module it differs")
	}
}

func TestImportRspamdForms(t *testing.T) {
	conf := `rates: {
  user: { bucket: [ { burst: 10k, rate: "5k / 1min", skip_recipients: true } ] },
  "from" { bucket { burst:100; rate:"100 / 1h"; symbol = "OVER"; } }
  ip = { bucket = { burst = 50; rate = "50 / 1h"; skip_soft_reject = true } }
}
whitelisted_rcpts = ["boss@example.org", "abuse"];
dynamic_rate_limit = true;
`
	text, limits := importText(t, "rspamd-ratelimit", conf)
	hasLines(t, text, "[limit.user]\nper = \"user\"\nabsent = \"skip\"\nmessages = [\"10000/2m\"]\n",
		"[limit.from]\nper = \"sender\"\nrecipients = [\"100/1h\"]\nmode = \"shadow\"\n", "[limit.ip]\nper = \"client_ip\"\nrecipients = [\"50/1h\"]\nmode = \"shadow\"\n",
		"(boss@example.org, abuse) lifted", "dynamic_rate_limit is left out")
	if len(limits) != 3 || limits["user"].Mode != ratelimit.Enforce || limits["ip"].Mode != ratelimit.Shadow {
		t.Errorf("%s", text)
	}
	text, _ = importText(t, "rspamd-ratelimit", "symbol = \"X\";\nrates { user = \"20 / 1h\" }\n")
	hasLines(t, text, "mode = \"shadow\"")
}

func TestImportRefusesWhatIsNoConfiguration(t *testing.T) {
	for _, format := range Formats {
		for _, text := range []string{"", "hello\n", "{{{{{[[[[", "limits", "rates { user = ", "INSERT INTO throttle VALUES (1,"} {
			var b strings.Builder
			if err := Import(format, strings.NewReader(text), &b); err == nil && strings.Contains(b.String(), "\n[limit") {
				t.Errorf("%s of %q: %s", format, text, b.String())
			}
		}
	}
	if err := Import("sendmail", strings.NewReader(""), &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "iredapd") {
		t.Errorf("unknown format: %v", err)
	}
}

// Whatever a file holds, what is written is TOML, and its limits compile.
func FuzzImport(f *testing.F) {
	f.Add(0, "limits:\n - [10, 60]\nlimits_by_id: {\"a\\\"b\": [[1, 1]], c@d: []}\nlimit_by_sender: True\n")
	f.Add(1, "INSERT INTO throttle VALUES (1,'@.','outbound',0,3600,1,100,-1),(2,'a\\'b@c','outbound',0,60,1,100,7);")
	f.Add(1, "account\tperiod\tmax_msgs\n@x\t60\t1\n")
	f.Add(2, "rates { user = \"20 / 1h\"; a_b { selector = \"ip\"; bucket = [{burst = 1; rate = 0.5}] } }")
	f.Fuzz(func(t *testing.T, format int, text string) {
		if format < 0 || format >= len(Formats) {
			return
		}
		var b strings.Builder
		if Import(Formats[format], strings.NewReader(text), &b) != nil {
			return
		}
		var file struct {
			Limit map[string]ratelimit.RuleConfig `toml:"limit"`
		}
		if err := toml.Unmarshal([]byte(b.String()), &file); err != nil {
			t.Fatalf("%v of %q in:\n%s", err, text, b.String())
		}
		if _, err := ratelimit.Compile(file.Limit, ratelimit.Env{}); err != nil {
			t.Fatalf("%v of %q in:\n%s", err, text, b.String())
		}
	})
}

// TestImportKeepsOneOfTwoSpellings: what is one sender here can have one number.
func TestImportKeepsOneOfTwoSpellings(t *testing.T) {
	l := importedLimit{name: "x", per: `"sender"`, numbers: importedNumbers{messages: []string{"9/1h"}}, overrides: []importedOverride{
		{key: "Bob@example.org", numbers: importedNumbers{messages: []string{"5/1h"}}},
		{key: "bob@example.org", numbers: importedNumbers{messages: []string{"6/1h"}}},
	}}
	var out strings.Builder
	w := bufio.NewWriter(&out)
	l.write(w)
	w.Flush()
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{` "Bob@example.org" = {`, ` # "bob@example.org" = {`, `it is "Bob@example.org" in another spelling`, "] [limit.x.overrides]"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}
