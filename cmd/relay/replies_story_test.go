package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
	"postern/reputation"
)

// TestListingInTheWordsOfTenProviders: what each says when it has listed us opens a
// listing whose report names who caused it and what the provider said.
func TestListingInTheWordsOfTenProviders(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		stage smtptest.Stage
		reply string
		list  string // that the report names
	}{
		"Outlook.com":      {smtptest.Mail, "550 5.7.1 Unfortunately, messages from [192.0.2.25] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140). You can also refer your provider to http://mail.live.com/mail/troubleshooting.aspx#errors.", "microsoft"},
		"Microsoft 365":    {smtptest.Rcpt, "550 5.7.606 Access denied, banned sending IP [192.0.2.25]. To request removal from this list please visit https://sender.office.com/ and follow the directions. For more information please go to http://go.microsoft.com/fwlink/?LinkID=526655 (AS16012609)", "microsoft"},
		"Gmail":            {smtptest.Dot, "550-5.7.1 [192.0.2.25      12] Our system has detected that this message is\n550-5.7.1 likely suspicious due to the very low reputation of the sending IP\n550-5.7.1 address. To best protect our users from spam, the message has been\n550-5.7.1 blocked. Please visit\n550 5.7.1  https://support.google.com/mail/answer/188131 for more information.", ""},
		"Yahoo":            {smtptest.Mail, "553 5.7.2 [TSS09] All messages from 192.0.2.25 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes", "yahoo"},
		"Cox":              {smtptest.Mail, "550 5.1.0 192.0.2.25 is blocked. For explanation visit https://www.spamhaus.org/query/ip/192.0.2.25 AUP#IPBL0001", "spamhaus"},
		"Orange":           {smtptest.Rcpt, "550 5.7.1 mwinf5c10 ME Service refuse. Client host [192.0.2.25] blocked for spamming. OFR006_102 [102]", "cloudmark-csi"},
		"T-Online":         {smtptest.Mail, "554 IP=192.0.2.25 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.) (BL)", "t-online"},
		"NetEase":          {smtptest.Rcpt, "450 DT:RBL 163 mx8,PcmowABH 192.0.2.25 http://mail.163.com/help/help_spam_16.htm?ip=192.0.2.25", ""},
		"Comcast":          {smtptest.Mail, "554 resimta-po-13v.sys.comcast.net 192.0.2.25 Comcast block for spam. Please see http://postmaster.comcast.net/smtp-error-codes.php#BL000000", "comcast"},
		"Proofpoint":       {smtptest.Rcpt, "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.25", "proofpoint"},
		"a German Postfix": {smtptest.Rcpt, "554 5.7.1 Service unavailable; Client host [192.0.2.25] blocked using ix.dnsbl.manitu.net; Your e-mail service was detected by mx.selfip.biz (NiX Spam) as spamming", "nixspam"},
		"nobody's rule":    {smtptest.Rcpt, "550 Ihr Mailserver 192.0.2.25 steht wegen Spamversands auf unserer Sperrliste", ""},
	} {
		t.Run(name, func(t *testing.T) {
			up := smtptest.Start(t, smtptest.Options{})
			p := startRelay(t, sharedStream(up.Addr(), "alert"))
			b, a := p.session(bank), p.session(tenant)
			for i := range 40 {
				wantReply(t, "the tenant", a.send("x@tenant.example", fmt.Sprintf("stranger%d@dest%d.example", i, i%8)), "250 ")
			}
			wantReply(t, "the bank", b.send("pay@bank.example", "customer@dest.example"), "250 ")
			var faults []smtptest.Fault
			for i := range 3 {
				f := smtptest.Fault{Stage: story.stage, Reply: story.reply}
				if story.stage == smtptest.Rcpt {
					f.To = fmt.Sprintf("u@big%d.example", i)
				}
				faults = append(faults, f)
			}
			up.SetFaults(faults...)
			for i := range 3 {
				if r := a.send("x@tenant.example", fmt.Sprintf("u@big%d.example", i)); r[0] == '2' {
					t.Errorf("taken: %s", r)
				}
			}
			p.expect(`msg=reputation event=listed .*subject=192\.0\.2\.25 `)
			p.expect(`msg=reputation event=suspect .*subject="sender x@tenant\.example"`)
			var l reputation.Listing
			if err := json.Unmarshal([]byte(p.verb(0, "listings", "show", "1", "--json")), &l); err != nil {
				t.Fatal(err)
			}
			said, _ := json.Marshal(l)
			if len(l.Suspects) == 0 || l.Suspects[0].Name != "x@tenant.example" || !strings.Contains(string(said), firstWords(story.reply)) {
				t.Errorf("report %s", said)
			}
			if story.list != "" && !regexp.MustCompile(`"list":"`+regexp.QuoteMeta(story.list)).Match(said) {
				t.Errorf("the list %s is not named in %s", story.list, said)
			}
		})
	}
}

// firstWords is the part of a reply that stands in the report as it was said.
func firstWords(reply string) string {
	_, words, _ := strings.Cut(reply, " ")
	return words[:min(12, len(words))]
}

// TestUnknownReplyIsKeptAndTaught: what nobody understands is kept masked, and one
// command makes it known.
func TestUnknownReplyIsKeptAndTaught(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	text := strings.Replace(sharedStream(up.Addr(), "alert"), "[reputation]\n", "[reputation]\nreply_rules = \"replies.rules\"\n", 1)
	p := startRelay(t, strings.Replace(text, "reply_rules = \"replies.rules\"\n", "", 1))
	a := p.session(tenant)
	refuse := func(to string) {
		t.Helper()
		up.SetFaults(smtptest.Fault{Stage: smtptest.Rcpt, To: to, Reply: "554 5.9.9 Zorp for <" + to + ">: quux level 7 frobnicated (4XkQb21sZz)"})
		wantReply(t, "the tenant", a.send("x@tenant.example", to), "554 5.9.9 Zorp")
	}
	refuse("ben@dest.example")
	refuse("anna@other.example")
	config := filepath.Join(p.dir, "relay.toml")
	var id string
	eventually(t, "the reply is kept", func() bool {
		_, out, _ := runVerb("", "replies", "unknown", "-config", config)
		if m := regexp.MustCompile(`(?m)^([0-9a-f]{8}) +2 .*rcpt .*dest\.example,other\.example +"554 5\.9\.9 zorp for <someone@masked\.example>: quux level 7 frobnicated \(0\)"$`).FindStringSubmatch(out); m != nil {
			id = m[1]
		}
		return id != ""
	})
	if status, _, errs := runVerb("", "replies", "teach", "-config", config, id, "content-spam"); status != cli.Usage || !strings.Contains(errs, "reply_rules") {
		t.Errorf("without a file of rules: status %d, %s", status, errs)
	}
	writeFile(t, config, text)
	if status, out, errs := runVerb("", "replies", "teach", "-config", config, id, "content-spam"); status != cli.OK || !strings.Contains(out, "rule taught-") {
		t.Fatalf("status %d, %s%s", status, out, errs)
	}
	if _, out, _ := runVerb("", "replies", "unknown", "-config", config); strings.Contains(out, id) {
		t.Errorf("still unknown: %s", out)
	}
	p.signal(syscall.SIGHUP)
	p.expect("configuration reloaded")
	refuse("carl@third.example")
	p.expect(`to=carl@third\.example .*class=content-spam`)
	eventually(t, "the journal says what decided", func() bool {
		journal, err := os.ReadFile(filepath.Join(p.dir, "journal.jsonl"))
		return err == nil && strings.Contains(string(journal), `"by":"rule taught-`)
	})
}
