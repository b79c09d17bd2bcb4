package relay

import (
	netmail "net/mail"
	"strings"
	"testing"

	"postern/internal/syntax"
)

// lenientSeeds are what devices send, and what somebody sends who would like to be
// taken for one.
var lenientSeeds = []string{
	"EHLO my pc\r\nMAIL FROM:a@example.org\r\nRCPT TO:b@dest.example \r\nDATA\r\nUPS on battery\r\n.\r\nQUIT\r\n",
	"EHLO cam\nMAIL FROM:<a@example.org >\nRCPT TO:<user.@dest.example>\nDATA\nFrom: a@example.org\n\nx\n.\n.\r\ny\r\n.\r\nQUIT\n",
	"HELO M\u00dc\r\nMAIL FROM:<a@x_1.example.org> AUTH=\r\nRCPT TO:<b@db_1.dest.example> ORCPT=x\r\nDATA\r\nSubject: x\nFrom : c@bank.example\n\ny\r\n.\r\n",
	"HELO x\nMAIL FROM:<>\nRCPT TO:<b@dest.example>\nDATA\nSubject: x\r\n\r\n.\r\n",
	"HELO x\r\nMAIL FROM:a@example.org <c@bank.example>\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nBDAT 20\r\nSubject: x\nFrom: a@exBDAT 12 LAST\r\nample.org\ny\nzQUIT\r\n",
	"EHLO x\nMAIL FROM:<a@example.org>\nRCPT TO:<b@dest.example>\nDATA\n.\r\nFrom: c@bank.example\r\n.\r\nNOOP\n",
	"EHLO x\nNOOP\r\nMAIL FROM:<a@example.org>\nRCPT TO:<b@dest.example>\nDATA\n",
	"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nhello\r\nFrom: c@bank.example\r\n\r\nx\r\n.\r\n",
	"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nFrom:\r\nSender: c@bank.example\r\nhello\r\n.\r\n",
	"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@dest.example>\r\nBDAT 5 LAST\r\nhelloBDAT 0 LAST\r\n",
}

// FuzzLenientSession: what leaves of a lenient client is as well formed as what
// leaves of another, and readers see one author in it, who is the client's.
func FuzzLenientSession(f *testing.F) {
	for i, s := range append(sessions(), lenientSeeds...) {
		f.Add([]byte(s), uint8(i%7))
	}
	h := newTheatre(f, "client.corporate.forms lenient", "client.shop.forms lenient", "client.corporate.senders @example.org,@*.example.org")
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		for _, text := range h.holdSession(t, in, int(piece)) {
			holdOwnAuthor(t, text)
		}
	})
}

func holdOwnAuthor(t *testing.T, text string) {
	t.Helper()
	end := syntax.HeaderEnd([]byte(text), 0)
	if end < 0 {
		end = len(text)
	}
	h, err := syntax.ParseHeader([]byte(text[:end]), 1<<20)
	if err != nil || h.Count("From") != 1 || h.Count("Received") == 0 {
		t.Fatalf("%q leaves: %v", text, err)
	}
	m, err := netmail.ReadMessage(strings.NewReader(text))
	if end == len(text) && err != nil { // it wants a blank line
		m, err = netmail.ReadMessage(strings.NewReader(text + "\r\n"))
	}
	if err != nil {
		t.Fatalf("%q leaves: net/mail: %v", text, err)
	}
	from := m.Header["From"]
	if len(from) != 1 {
		t.Fatalf("%q leaves: net/mail sees %q", text, from)
	}
	list, err := netmail.ParseAddressList(from[0])
	for _, a := range list {
		if domain := strings.ToLower(a.Address[1+strings.LastIndexByte(a.Address, '@'):]); domain != "example.org" && !strings.HasSuffix(domain, ".example.org") && domain != "shop.example" {
			t.Fatalf("%q leaves: author %v, %v", text, a, err)
		}
	}
}
