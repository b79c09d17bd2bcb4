package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/internal/spellings"

	"golang.org/x/crypto/bcrypt"

	"postern/internal/smtptest"
	"postern/ratelimit"
)

// TestOneSenderIsOneSender: whatever one entry of senders owns is one sender in
// limits, overrides, raises, suspensions and lists, whoever spells it how, and a
// suspension holds over a restart.
func TestOneSenderIsOneSender(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	blocks := spellings.Blocks()
	var senders, overrides []string
	for i, block := range blocks {
		senders = append(senders, strconv.Quote(block[len(block)-1]))
		if i%2 == 1 {
			overrides = append(overrides, strconv.Quote(block[0])+` = { messages = ["3/1h"] }`)
		}
	}
	text := strings.Replace(basic(up, "[limit.sender]\nper = \"sender\"\nmessages = [\"2/1h\"]\n[limit.sender.overrides]\n"+strings.Join(overrides, "\n")),
		`senders = ["@example.org"]`, "senders = ["+strings.Join(senders, ", ")+"]", 1)
	p := startRelay(t, text)
	for i, block := range blocks {
		passed, want := 0, 2+i%2
		for range 4 {
			d := dialSMTP(t, p.address("mta"))
			for _, sender := range block {
				d.say("MAIL FROM:<"+sender+"> SMTPUTF8", "250")
				if strings.HasPrefix(d.say("RCPT TO:<b@dest.example>", ""), "250") {
					passed++
				}
				d.say("RSET", "250")
			}
			d.conn.Close()
		}
		if passed != want {
			t.Errorf("%s: %d of %d pass, want %d", block[0], passed, 4*len(block), want)
		}
	}
	for i, block := range blocks {
		last := block[len(block)-1]
		var states []ratelimit.Usage
		if err := json.Unmarshal([]byte(p.verb(0, "limits", "show", "-sender", last, "-json")), &states); err != nil || len(states) != 1 || states[0].Windows[0].Used != int64(2+i%2) {
			t.Errorf("%s: %v %+v", last, err, states)
		}
		wantText(t, p.verb(0, "limits", "explain", "-client", "corporate", "-from", last, "-to", "b@dest.example"), `refuses: messages in 1h`)
		p.verb(0, "limits", "allow", "-limit", "sender", "-sender", last, "-messages", "+1", "-until", "1h", "-reason", "x")
		d := dialSMTP(t, p.address("mta"))
		d.say("MAIL FROM:<"+block[0]+"> SMTPUTF8", "250")
		d.say("RCPT TO:<b@dest.example>", "250")
		d.say("RSET", "250")
		p.verb(0, "suspend", last, "-reason", "x")
		for _, sender := range block {
			d.say("MAIL FROM:<"+sender+"> SMTPUTF8", "450 4.7.1")
		}
		d.conn.Close()
	}
	p.kill()
	p = startRelayIn(t, p.dir)
	for _, block := range blocks {
		d := dialSMTP(t, p.address("mta"))
		for _, sender := range block {
			d.say("MAIL FROM:<"+sender+"> SMTPUTF8", "450 4.7.1")
		}
		p.verb(0, "release", block[len(block)/2])
		for _, sender := range block {
			d.say("MAIL FROM:<"+sender+"> SMTPUTF8", "250")
			d.say("RSET", "250")
		}
		d.conn.Close()
	}
	p.stop()
}

// TestOneUserIsOneUser: SASL user names are one in login, limits and suspensions.
func TestOneUserIsOneUser(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{})
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(basic(up, fmt.Sprintf(`
[user."Shop@Bücher.Example"]
password = %q
[limit.user]
per = "user"
messages = ["1/1h"]
overrides."SHOP@xn--bcher-kva.example" = { messages = ["3/1h"] }
`, hash)), `networks = ["127.0.0.1/32"]`, `users = ["shop@BÜCHER.example"]`, 1)
	p := startRelay(t, text)
	login := func(name, want string) *smtpDialog {
		d := dialSMTP(t, p.address("mta"))
		d.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+"secret")), want)
		return d
	}
	names := []string{"shop@bücher.example", "SHOP@xn--bcher-kva.EXAMPLE", `"Shop"@bücher.example`, "ｓｈｏｐ@bücher.example"}
	passed := 0
	for _, name := range names {
		d := login(name, "235")
		for range 2 {
			d.say("MAIL FROM:<a@example.org>", "250")
			if strings.HasPrefix(d.say("RCPT TO:<b@dest.example>", ""), "250") {
				passed++
			}
			d.say("RSET", "250")
		}
	}
	if passed != 3 {
		t.Errorf("%d pass, want 3", passed)
	}
	login("shop@bucher.example", "535")
	wantText(t, p.verb(0, "limits", "show", "-user", names[2]), `user=shop@xn--bcher-kva\.example .* 3 of 3`)
	p.verb(0, "suspend", "user:"+names[3], "-reason", "x")
	for _, name := range names {
		login(name, "454 4.7.0")
	}
	p.verb(0, "release", "user:"+names[1])
	d := login(names[0], "235")
	d.say("MAIL FROM:<a@example.org>", "250")
	d.conn.Close()
	p.stop()
}

// TestOneRecipientIsSuppressedInAnyCase: by the receiver's word and by hand.
func TestOneRecipientIsSuppressedInAnyCase(t *testing.T) {
	t.Parallel()
	up := smtptest.Start(t, smtptest.Options{Faults: []smtptest.Fault{{Stage: smtptest.Rcpt, To: "Nobody@dest.example", Reply: "550 5.1.1 no such user"}}})
	p := startRelay(t, basic(up, ""))
	d := dialSMTP(t, p.address("mta"))
	rcpt := func(to, want string) {
		t.Helper()
		d.say("MAIL FROM:<a@example.org> SMTPUTF8", "250")
		d.say("RCPT TO:<"+to+">", want)
		d.say("RSET", "250")
	}
	rcpt("Nobody@dest.example", "550 5.1.1 no such user")
	for _, to := range []string{"nobody@dest.example", "NOBODY@DEST.example", `"nobody"@dest.example`} {
		rcpt(to, "550 5.1.1 <"+strings.NewReplacer(`"`, "", "DEST", "dest").Replace(to)+">: mailbox does not exist, its server has said so before")
	}
	rcpt("ｎｏｂｏｄｙ@dest.example", "250") // perhaps another's mailbox
	wantText(t, p.verb(0, "suppressions", "list", "-recipient", "NoBody@Dest.Example"), `nobody@dest\.example`)
	p.verb(0, "suppressions", "remove", "NOBODY@dest.example")
	rcpt("nobody@dest.example", "250")
	p.verb(0, "suppressions", "add", "Bob@Dest.example", "-reason", "asked to")
	rcpt("bob@dest.example", "550 5.1.1")
	p.stop()
	if n := len(strings.Split(string(readFile(t, filepath.Join(p.dir, "state", "suppressions.json"))), `"recipient"`)) - 1; n != 1 {
		t.Errorf("%d suppressions are kept", n)
	}
}
