package dkimsign

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// signedOn is signed on a way out.
func signedOn(t testing.TB, w *Way, d *Domain, message string) (out []byte, names []string) {
	t.Helper()
	header, body := split([]byte(message))
	h := NewBodyHash()
	h.Write(body)
	fields, names, err := w.Sign(d, header, h, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{fields, header, []byte("\r\n"), body}, nil), names
}

// TestWayChoosesKeys: which keys sign on a way out, and in which order.
func TestWayChoosesKeys(t *testing.T) {
	s := testDomain(t, nil)
	for _, tt := range []struct {
		name string
		keys KeyNames
		want []string
	}{
		{"nothing said", nil, []string{"example.org/r1", "example.org/e1"}},
		{"all", KeyNames{"all"}, []string{"example.org/r1", "example.org/e1"}},
		{"the first", KeyNames{"first"}, []string{"example.org/r1"}},
		{"none", KeyNames{"none"}, nil},
		{"one by its selector", KeyNames{"e1"}, []string{"example.org/e1"}},
		{"one by its selector in capitals", KeyNames{"E1"}, []string{"example.org/e1"}},
		{"one in full", KeyNames{"example.org/r1"}, []string{"example.org/r1"}},
		{"several, in the order of the domain", KeyNames{"e1", "other", "r1"}, []string{"example.org/r1", "example.org/e1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWay(WayConfig{SignKeys: tt.keys})
			message, names := signedOn(t, w, s.For("example.org"), plain+"\r\nHello\r\n")
			if !slices.Equal(names, tt.want) {
				t.Fatalf("signed by %q, want %q", names, tt.want)
			}
			if n := bytes.Count(message, []byte("DKIM-Signature:")); n != len(tt.want) {
				t.Fatalf("%d signatures, want %d", n, len(tt.want))
			}
		})
	}
}

// TestWayWithoutAKeyOfTheDomain: a domain that requires its signature is not
// left unsigned because the way names keys of others.
func TestWayWithoutAKeyOfTheDomain(t *testing.T) {
	w := NewWay(WayConfig{SignKeys: KeyNames{"example.com/r1"}})
	for _, required := range []bool{true, false} {
		s := testDomain(t, func(c *DomainConfig) { c.Require = required })
		fields, names, err := w.Sign(s.For("example.org"), []byte(plain), NewBodyHash(), time.Now())
		if len(fields)+len(names) > 0 || errors.Is(err, errNotThisWay) != required {
			t.Errorf("required %v: signed by %q, %v", required, names, err)
		}
	}
}

// TestFirstKeyIsOneThatIsPublished: while the first key waits for its record, the
// next one is the one that signs.
func TestFirstKeyIsOneThatIsPublished(t *testing.T) {
	s := testDomain(t, nil)
	s.SetPublished("example.org", "r1", Unpublished)
	s.SetPublished("example.org", "e1", Matches)
	if _, names := signedOn(t, NewWay(WayConfig{SignKeys: KeyNames{"first"}}), s.For("example.org"), plain+"\r\n"); !slices.Equal(names, []string{"example.org/e1"}) {
		t.Errorf("signed by %q", names)
	}
}

// TestUnsignedFieldsMayBeReplaced: what providers do to a field that is left out
// breaks no signature, and does where it is signed.
func TestUnsignedFieldsMayBeReplaced(t *testing.T) {
	s := testDomain(t, nil)
	left := NewWay(WayConfig{UnsignedFields: []string{"message-id", "Date", "SENDER", "X-Unknown"}})
	for _, tt := range []struct{ name, old, new string }{
		{"Message-ID replaced", "<1@example.org>", "<0102018f-1@provider.example>"},
		{"Date replaced", "10:00:00 +0000", "10:00:07 +0000"},
		{"Message-ID removed", "Message-ID: <1@example.org>\r\n", ""},
		{"Date a second time", "Date: ", "Date: Mon, 24 Nov 2025 10:00:00 +0000\r\nDate: "},
		{"Sender added on top", "From: ", "Sender: list@lists.example.net\r\nFrom: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, w := range []*Way{nil, left} {
				message, _ := signedOn(t, w, s.For("example.org"), plain+"\r\nHello\r\n")
				message = bytes.Replace(message, []byte("\r\n"+tt.old), []byte("\r\n"+tt.new), 1)
				message = bytes.Replace(message, []byte(tt.old), []byte(tt.new), 1)
				for key, err := range verify(t, s, message) {
					if (err == nil) != (w != nil) {
						t.Errorf("left out %v, %s: %v", w != nil, key, err)
					}
				}
			}
		})
	}
	// All else is signed and sealed as ever.
	message, _ := signedOn(t, left, s.For("example.org"), plain+"\r\nHello\r\n")
	for _, change := range [][2]string{{"Greetings", "Other"}, {"From: ", "Reply-To: x@example.net\r\nFrom: "}} {
		for key, err := range verify(t, s, bytes.Replace(message, []byte(change[0]), []byte(change[1]), 1)) {
			if err == nil {
				t.Errorf("%s: %q still verifies", key, change[1])
			}
		}
	}
}

func TestStreamSaysMoreThanItsUpstream(t *testing.T) {
	up := WayConfig{SignKeys: KeyNames{"first"}, UnsignedFields: []string{"Date"}, ClientSignatures: RemoveSignatures}
	got := WayConfig{SignKeys: KeyNames{"none"}}.Over(up)
	if !got.SignKeys.Is(SignNone) || len(got.UnsignedFields) != 1 || got.ClientSignatures != RemoveSignatures {
		t.Errorf("got %+v", got)
	}
	if got := (WayConfig{UnsignedFields: []string{}}).Over(up); len(got.UnsignedFields) != 0 {
		t.Errorf("an empty list counts as blank: %+v", got)
	}
}

func TestSignaturesMadeInTheNameOfADomain(t *testing.T) {
	var o Owners
	if o.Made([]byte("nonsense")) {
		t.Error("without a domain a signature is somebody's")
	}
	o.Add("news.example.org")
	o.Add("example.com")
	for _, tt := range []struct {
		value string
		made  bool
	}{
		{" v=1; a=rsa-sha256; d=news.example.org; s=x; b=AA==", true},
		{" v=1; d=NEWS.Example.Org; b=AA==", true},
		{" v=1; d=\r\n\tnews.example.org\r\n ; b=AA==;", true},
		{" d=example.org", true},
		{" d=a.b.news.example.org", true},
		{" d=org", true},
		{" d=mail.example.com;", true},
		{" d=xnews.example.org", false},
		{" d=other.example.org", false},
		{" d=example.net; i=@example.com", false},
		{" d=com.example", false},
		{" D=example.org", true}, // no d= at all
		{" v=1; b=AA==", true},
		{" d=example.net; d=example.com", true},
		{" d=example.net; x", true},
		{" d=", true},
		{" d=bücher.example", true},
		{"", true},
	} {
		if made := o.Made([]byte(tt.value)); made != tt.made {
			t.Errorf("%q: %v", tt.value, made)
		}
	}
}

func FuzzOwners(f *testing.F) {
	for _, s := range []string{" v=1; d=example.org; b=", ";;;=", "d=d=d", strings.Repeat("d=a;", 9), "d=\x00", "d=.example.org"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var o Owners
		o.Add("example.org")
		domain, ok := signedBy([]byte(value))
		if ok && domain != strings.ToLower(domain) || !ok && domain != "" {
			t.Fatalf("%q: %q, %v", value, domain, ok)
		}
		if made := o.Made([]byte(value)); !ok && !made || ok && domain == "example.org" && !made {
			t.Fatalf("%q: %q, %v", value, domain, made)
		}
	})
}

func TestWayConfigReportsEveryProblem(t *testing.T) {
	for _, tt := range []struct {
		name    string
		c       WayConfig
		problem string
	}{
		{"a word beside names", WayConfig{SignKeys: KeyNames{"s1", "none"}}, `sign_keys: "none" stands beside other names`},
		{"a name that is none", WayConfig{SignKeys: KeyNames{"s1 s2"}}, `sign_keys.0: "s1 s2" is not the name of a key`},
		{"a blank name", WayConfig{SignKeys: KeyNames{""}}, `sign_keys.0: "" is not the name of a key`},
		{"a domain that is none", WayConfig{SignKeys: KeyNames{"Example.org/s1"}}, `sign_keys.0: "Example.org/s1" is not`},
		{"From", WayConfig{UnsignedFields: []string{"FROM"}}, `unsigned_fields.0: a signature without From is none`},
		{"a field with its colon", WayConfig{UnsignedFields: []string{"Date", "Message-ID:"}}, `unsigned_fields.1: "Message-ID:" is not the name`},
		{"what is right", WayConfig{SignKeys: KeyNames{"example.org/s1", "s2"}, UnsignedFields: []string{"X-Any"}}, ``},
	} {
		var problems []string
		tt.c.Check(func(key, problem string) { problems = append(problems, key+": "+problem) })
		if got := strings.Join(problems, "\n"); !strings.HasPrefix(got, tt.problem) || tt.problem == "" && got != "" {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.problem)
		}
	}
}
