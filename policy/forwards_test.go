package policy

import (
	"regexp"
	"strings"
	"testing"

	"postern/mail"
)

func TestForwardedMailIsToldByItsForm(t *testing.T) {
	for local, want := range map[string]bool{
		"SRS0=fGv9=BC=a.example=bounce":                true,
		"srs0+opaque+hash=7z=a.example=x":              true,
		"SRS0-HHHH=2T=sub.a.example=a=b=c":             true,
		"SRS1=HHHH=b.example==HHHH=TT=a.example=local": true,
		"SRS1=HHHH=b.example=+HHHH=TT=a.example=local": true,
		"SRS0=fGv9=BC=a.example=":                      false,
		"SRS0=fGv9=BC=example=bounce":                  false,
		"SRS0=fGv9=B1=a.example=bounce":                false,
		"SRS0=fGv9=BCD=a.example=bounce":               false,
		"SRS0==BC=a.example=bounce":                    false,
		"SRS0=fGv9=BC=a.example":                       false,
		"SRS0":                                         false,
		"SRS2=fGv9=BC=a.example=bounce":                false,
		"SRS1=HHHH=b.example=HHHH=TT=a.example=local":  false,
		"SRS1=HHHH=b==HHHH=TT=a.example=local":         false,
		"xSRS0=fGv9=BC=a.example=bounce":               false,
		"news":                                         false,
		"prvs=SRS0=fGv9=BC=a.example=bounce":           false,
		"SRS0=fGv9=BC=a..example=bounce":               false,
		"SRS0=f v9=BC=a.example=bounce":                false,
	} {
		if got := isSRS(mail.Address{Local: local, Domain: "example.org"}); got != want {
			t.Errorf("%s: %v, want %v", local, got, want)
		}
	}
	for body, want := range map[string]string{
		" Announcements <announce.example.org>\r\n": "announce.example.org",
		" <announce.example.org>\r\n":               "announce.example.org",
		"\r\n\t\"A, B\"\r\n <a.example.org>\r\n":    "a.example.org",
		" announce.example.org\r\n":                 "",
		" <announce.example.org> x\r\n":             "",
		" <other.example.org> <a.example.org>\r\n":  "",
		" <announce>\r\n":                           "",
		" <a b.example.org>\r\n":                    "",
		" <a..org>\r\n":                             "",
		"\r\n":                                      "",
	} {
		if got := listID([]byte(body)); got != want {
			t.Errorf("List-Id:%q: %q, want %q", body, got, want)
		}
	}
}

// FuzzSRS: what passes has the form, whatever surrounds it.
func FuzzSRS(f *testing.F) {
	for _, s := range []string{"SRS0=fGv9=BC=a.example=bounce", "SRS1=HHHH=b.example==HHHH=TT=a.example=local", "srs0+=", "SRS1=\x00===", "SRS0=\xff=BC=a.example=x"} {
		f.Add(s)
	}
	const srs0 = `[A-Za-z0-9+/._-]{1,64}=[A-Za-z2-7]{2}=[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+=(?s:.+)`
	form := regexp.MustCompile(`^(?i:SRS0[=+-]|SRS1[=+-][A-Za-z0-9+/._-]{1,64}=[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+=[=+-])` + srs0 + `$`)
	f.Fuzz(func(t *testing.T, local string) {
		if strings.ContainsAny(local, "ſK") { // which fold into s and k, and into no octet
			return
		}
		if got, want := isSRS(mail.Address{Local: local, Domain: "example.org"}), form.MatchString(local); got != want {
			t.Errorf("%q: %v, want %v", local, got, want)
		}
	})
}
