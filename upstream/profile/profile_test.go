package profile

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestFindNamesEveryProfile(t *testing.T) {
	for _, name := range names() {
		if p, err := Find(name); err != nil || p.Name != name || p.Title == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	_, err := Find("SES")
	if err == nil {
		t.Fatal("names count in any case")
	}
	for _, name := range names() {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestHostsBelongToTheirProvider(t *testing.T) {
	for host, want := range map[string]string{
		"email-smtp.eu-west-1.amazonaws.com:587":      "ses",
		"EMAIL-SMTP-FIPS.us-gov-west-1.amazonaws.com": "ses",
		"smtp.office365.com.:587":                     "microsoft365",
		"smtp-relay.gmail.com":                        "google-workspace",
		"smtp.eu.mailgun.org:465":                     "mailgun",
		"smtp-broadcasts.postmarkapp.com:2525":        "postmark",
		"smtp.sendgrid.net:25":                        "sendgrid",
		"email-smtp..amazonaws.com":                   "",
		"email-smtp.a.b.amazonaws.com":                "",
		"email-smtp.amazonaws.com":                    "",
		"smtp.office365.com.example.org:587":          "",
		"192.0.2.25:587":                              "",
		"[2001:db8::25]:587":                          "",
		"":                                            "",
	} {
		got := ""
		if p := OfHost(host); p != nil {
			got = p.Name
		}
		if got != want {
			t.Errorf("%q is of %q, want %q", host, got, want)
		}
	}
	for _, p := range all {
		for _, host := range p.Hosts {
			if OfHost(host) == nil || OfHost(host).Name != p.Name {
				t.Errorf("%s: its own %s is not under it", p.Name, host)
			}
		}
	}
}

// TestEveryProfileHasSources: what stands in the table was read somewhere.
func TestEveryProfileHasSources(t *testing.T) {
	for _, p := range all {
		if len(p.Sources) == 0 || len(p.Quirks) == 0 || (len(p.Hosts) == 0) != (p.WhichHost != "") {
			t.Errorf("%s lacks sources, quirks or hosts", p.Name)
		}
		for _, s := range p.Sources {
			if u, err := url.Parse(s); err != nil || u.Host == "" {
				t.Errorf("%s: source %q", p.Name, s)
			}
		}
		for _, q := range p.Quirks {
			if !strings.HasSuffix(q, ".") {
				t.Errorf("%s: %q is not a sentence", p.Name, q)
			}
		}
	}
}

// page is what docs/providers.md must say of a profile.
func page(p *Profile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### `%s`: %s\n\n| key | value |\n|---|---|\n", p.Name, p.Title)
	row := func(key, value string) {
		if value != "" && value != "0" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", key, value)
		}
	}
	hosts := "none: " + p.WhichHost
	if len(p.Hosts) > 0 {
		hosts = "`" + strings.Join(p.Hosts, "`, `") + "`"
	}
	row("hosts", hosts)
	row("tls", "`"+p.TLS+"`, from `"+p.TLSMin+"` on")
	row("username", p.Username)
	row("max_connections", fmt.Sprint(p.MaxConnections))
	row("messages_per_connection", fmt.Sprint(p.MessagesPerConnection))
	row("max_recipients", fmt.Sprint(p.MaxRecipients))
	row("sign_keys", strings.Join(p.SignKeys, ", "))
	row("unsigned_fields", strings.Join(p.UnsignedFields, ", "))
	row("client_signatures", p.ClientSignatures)
	b.WriteString("\n")
	for _, q := range p.Quirks {
		b.WriteString("- " + q + "\n")
	}
	b.WriteString("\nSources:\n")
	for _, s := range p.Sources {
		b.WriteString("<" + s + ">\n")
	}
	return b.String()
}

func TestDocsHaveTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names() {
		p, _ := Find(name)
		if want := page(p); !strings.Contains(string(text), want) {
			t.Errorf("docs/providers.md does not say of %s:\n%s", name, want)
		}
	}
	if !slices.IsSorted(names()) {
		t.Error("names are not in order")
	}
}
