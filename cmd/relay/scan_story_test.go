package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/scantest"
	"postern/internal/smtptest"
)

// harmful is a message with the EICAR file, or with the GTUBE line.
func harmful(from string, i int) string {
	head := fmt.Sprintf("From: %s\r\nTo: s@dest.example\r\nSubject: offer %d\r\nDate: Mon, 30 Nov 2026 08:00:00 +0000\r\nMessage-ID: <h%d@shop.example>\r\n", from, i, i)
	if i%2 == 0 {
		return head + "\r\n" + "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
	}
	eicar := base64.StdEncoding.EncodeToString([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`))
	return head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream; name=a.com\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + eicar + "\r\n--b--\r\n"
}

// TestStolenPasswordSendsAVirus is the whole story: whoever has the password sends
// a virus and GTUBE through Postfix; real scanners find both, nothing of it leaves,
// it counts, and the sender is suspended; event, metrics and explain tell it; and
// once the password is changed, release lets ordinary mail go again.
func TestStolenPasswordSendsAVirus(t *testing.T) {
	t.Parallel()
	clamd := scantest.StartClamd(t, "")
	rspamd := scantest.StartRspamd(t, "", "")
	up, admin := smtptest.Start(t, smtptest.Options{}), freeAddress(t)
	_, hash, _ := runVerb("secret\n", "hash-password", "-bcrypt")
	text := strings.Replace(basic(up, fmt.Sprintf(`
[user.shop]
password = %q
[client.shop]
users = ["shop"]
senders = ["orders@shop.example"]
stream = "main"
null_sender = "reject"
[outlier]
mode = "enforce"
[scanner.av]
clamd = "unix:%s"
[scanner.spam]
rspamd = "http://127.0.0.1:%s"
[admin]
address = %q
`, strings.TrimSpace(hash), clamd.Socket, rspamd.Normal, admin)), `networks = ["127.0.0.1/32"]`, `networks = ["127.0.0.9/32"]`, 1)
	p := startRelay(t, text)
	_, port, _ := strings.Cut(p.address("mta"), ":")
	eventually(t, "both scanners are up", func() bool {
		_, s, _ := runVerb("", "status", "-config", filepath.Join(p.dir, "relay.toml"))
		return strings.Contains(s, "av (clamd) is up") && strings.Contains(s, "spam (rspamd) is up")
	})
	mta := startPostfix(t, p.address("mta"), "smtp_sasl_auth_enable = yes", "smtp_sasl_security_options =",
		"smtp_sasl_password_maps = inline:{ { [127.0.0.1]:"+port+" = shop:secret } }")
	send := func(to, message string) {
		t.Helper()
		if err := mta.send("orders@shop.example", []string{to}, message); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		send(fmt.Sprintf("customer%d@dest.example", i%5), testMessage("orders@shop.example", fmt.Sprintf("o%d", i)))
	}
	upstreamMessages(t, up, 20)

	n := 0
	for ; n < 60 && p.count(`code=450 status=4\.7\.1 rule="outlier (sender|user)"`) == 0; n++ {
		send(fmt.Sprintf("stranger%d@dest%d.example", n, n%5), harmful("orders@shop.example", n))
		eventually(t, "it has been judged", func() bool {
			return p.count(`rule="scanner (av|spam)"`) > n || p.count(`rule="outlier (sender|user)"`) > 0
		})
	}
	t.Logf("held behind %d messages", n)
	if up.Taken() != 20 {
		t.Errorf("%d messages have left, want the 20 ordinary ones", up.Taken())
	}
	virus := p.expect(`msg=transaction id=(\S+) .*stage=scan outcome=rejected code=550 status=5\.7\.1 rule="scanner av" .*message refused by av: Own\.Eicar`)
	spam := p.expect(`msg=transaction id=(\S+) .*stage=scan outcome=rejected code=550 status=5\.7\.1 rule="scanner spam" .*message refused by spam: Gtube pattern`)
	p.expect(`msg=outlier scope=(sender|user|user\+sender) .* is=(throttle|suspend) cause=rule reason=".*refused`)
	wantText(t, p.verb(0, "senders", "show", "user:shop"), `refused`)
	for id, want := range map[string]string{virus[1]: `(?m)^scanner +av: virus Own\.Eicar`, spam[1]: `(?m)^scanner +spam: spam Gtube pattern, score 15\.0, symbols GTUBE`} {
		p.tells(want, "explain", id)
		p.tells(`(?m)^watch +counts as refused against its sender, user and client$`, "explain", id)
		p.tells(`(?m)^end +rejected with 550 5\.7\.1 by scanner`, "explain", id)
	}
	r, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	metrics, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`relay_scan_total\{scanner="av",verdict="virus"\} [1-9]`, `relay_scan_total\{scanner="spam",verdict="spam"\} [1-9]`, `relay_scanner_up\{scanner="av"\} 1`} {
		wantText(t, string(metrics), want)
	}

	for _, name := range []string{"user:shop", "orders@shop.example"} {
		runVerb("", "release", "-config", p.dir+"/relay.toml", name, "-reason", "password changed") // one of them holds it
	}
	send("customer1@dest.example", testMessage("orders@shop.example", "again"))
	upstreamMessages(t, up, 21)
	p.stop()
}
