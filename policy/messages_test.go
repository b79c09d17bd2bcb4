package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/syntax"
)

// corpus is where real and hostile messages lie; index.tsv says what each is.
const corpus = "../internal/syntax/testdata/messages"

// message is one row of the index.
type message struct{ name, authors, expect string }

func messages(t testing.TB) (all []message) {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(corpus, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(index)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 || f[0] == "related-gmail-dkim-large.eml" || f[0] == "line-64k.eml" || f[0] == "big-attachment.eml" {
			continue // the head line, and what is too large for the repository
		}
		all = append(all, message{name: f[0], authors: f[7], expect: f[11]})
	}
	return all
}

// readMessage returns the facts of a message; nil where its header cannot be
// split into fields.
func readMessage(t testing.TB, name string) *HeaderFacts {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus, name))
	if err != nil {
		t.Fatal(err)
	}
	if end := syntax.HeaderEnd(b, 0); end >= 0 {
		b = b[:end]
	}
	fields, err := syntax.ParseHeader(b, 2000)
	if err != nil {
		return nil
	}
	var h HeaderFacts
	h.read(fields)
	return &h
}

// What the index leaves to a setting passes by default, but for display names
// and automatic mail, which have tests of their own below, and forms of From
// that readers take differently.
func TestMessagesEndAsTheIndexSays(t *testing.T) {
	rules := map[string]string{"refuse-from": "from", "refuse-duplicate": "duplicate_fields"}
	forms := map[string]bool{"from-comment-then-address.eml": true, "from-folded.eml": true, "obsolete-syntax-comments-group.eml": true}
	for _, m := range messages(t) {
		t.Run(m.name, func(t *testing.T) {
			h := readMessage(t, m.name)
			if h == nil {
				if m.expect == "relay" {
					t.Fatal("no header")
				}
				return
			}
			r, owner := one(t, anna(func(c *ClientConfig) {
				if m.authors != "-" {
					c.Senders = strings.Split(m.authors, ",")
				}
			}))
			rule, reply, shadow := r.Header(owner, h)
			want := rules[m.expect]
			if m.expect == "choice" && forms[m.name] {
				want = "from"
			}
			if rule != want || (reply != nil) != (rule != "") || shadow {
				t.Errorf("its owner gets %q, %v; the index expects %s", rule, reply, m.expect)
			}
			r, stranger := one(t, anna(func(c *ClientConfig) { c.Senders = []string{"@elsewhere.example"} }))
			if rule, reply, shadow := r.Header(stranger, h); reply == nil || shadow || rule != "from" && rule != "from_mismatch" {
				t.Errorf("a stranger gets %q, %v", rule, reply)
			}
		})
	}
}

func TestMessagesWithTheSwitchesOn(t *testing.T) {
	want := map[string]string{
		"from-encoded-word-hides-address.eml": "display_name_address",
		"from-display-name-address.eml":       "display_name_address",
		"from-comment-then-address.eml":       "from",
		"from-folded.eml":                     "from",
		"obsolete-syntax-comments-group.eml":  "from",
		"duplicate-subject-date.eml":          "duplicate_fields",
		"two-authors-foreign-sender.eml":      "check_sender",
		"sender-and-quoted-names.eml":         "check_sender",
		"resent.eml":                          "check_resent_from",
		"arc-and-dkim.eml":                    "check_sender", // list mail: the list is its Sender
		"dsn-cpython.eml":                     "check_sender",
		"digest-mailman.eml":                  "check_sender",
		"dsn-delayed.eml":                     "check_resent_from",
	}
	for _, m := range messages(t) {
		h := readMessage(t, m.name)
		if h == nil || m.expect == "refuse-from" {
			continue
		}
		r, c := one(t, anna(func(c *ClientConfig) {
			c.Senders = strings.Split(m.authors, ",")
			c.DisplayNameAddress, c.CheckSender, c.CheckResentFrom = Reject, true, true
		}))
		rule, reply, _ := r.Header(c, h)
		if rule != want[m.name] {
			t.Errorf("%s: %q, %v; want %q", m.name, rule, reply, want[m.name])
		}
		delete(want, m.name)
	}
	if len(want) > 0 {
		t.Errorf("not in the index: %v", want)
	}
}

func TestMessagesThatAreAutomatic(t *testing.T) {
	want := map[string]Automatic{
		"arf-feedback-report.eml":       Report,
		"dsn-cpython.eml":               Report,
		"dsn-delayed.eml":               Report,
		"dsn-failed-postfix-like.eml":   Report,
		"read-receipt.eml":              Receipt,
		"vacation-auto-replied.eml":     AutoReply,
		"vacation-no-mark.eml":          AutoReply,
		"vacation-outlook.eml":          AutoReply,
		"cron-output.eml":               Notice,
		"monitoring-alert.eml":          Notice,
		"newsletter-one-click.eml":      NotAutomatic,
		"digest-mailman.eml":            NotAutomatic,
		"calendar-invite.eml":           NotAutomatic,
		"printer-scan-to-mail.eml":      NotAutomatic,
		"newsletter-mailto-only.eml":    NotAutomatic,
		"forwarded-rfc822.eml":          NotAutomatic,
		"header-block-in-body.eml":      NotAutomatic,
		"newsletter-no-unsubscribe.eml": NotAutomatic,
	}
	for _, m := range messages(t) {
		if h := readMessage(t, m.name); h != nil && h.Automatic != want[m.name] {
			t.Errorf("%s is %q, want %q", m.name, h.Automatic, want[m.name])
		}
	}
}

func TestMessagesThatOfferAWayOut(t *testing.T) {
	want := map[string]Unsubscribe{
		"newsletter-one-click.eml":   OneClick,
		"newsletter-mailto-only.eml": AnyUnsubscribe,
		"arc-and-dkim.eml":           AnyUnsubscribe,
		"dsn-cpython.eml":            AnyUnsubscribe,
	}
	for _, m := range messages(t) {
		h := readMessage(t, m.name)
		if h == nil {
			continue
		}
		if w := want[m.name]; h.Unsubscribe != w && (w != "" || h.Unsubscribe != NoUnsubscribe) {
			t.Errorf("%s offers %q, want %q", m.name, h.Unsubscribe, w)
		}
	}
}
