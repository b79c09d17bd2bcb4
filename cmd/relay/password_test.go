package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/cmd/relay/cli"
	"postern/internal/auth"
)

func TestHashPasswordPrintsWhatAuthTakes(t *testing.T) {
	for _, row := range []struct {
		name, in string
		args     []string
		password string
	}{
		{"argon2id from a line", "open sesame\n", nil, "open sesame"},
		{"line end of Windows", "open sesame\r\n", nil, "open sesame"},
		{"no line end", "open sesame", nil, "open sesame"},
		{"byte order mark and line end", "\xef\xbb\xbfopen sesame\r\n", nil, "open sesame"},
		{"bcrypt", "open sesame\n", []string{"-bcrypt"}, "open sesame"},
	} {
		status, out, errs := runVerb(row.in, append([]string{"hash-password"}, row.args...)...)
		if status != cli.OK || errs != "" {
			t.Fatalf("%s: status %d, %q", row.name, status, errs)
		}
		var cfg auth.Config
		cfg.SetDefaults()
		a, err := auth.New(map[string]auth.UserConfig{"u": {Password: strings.TrimSuffix(out, "\n")}}, cfg, time.Now, nil)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		r, err := a.Verify(t.Context(), netip.MustParseAddr("127.0.0.1"), "u", row.password)
		if err != nil || !r.OK {
			t.Errorf("%s: %+v, %v", row.name, r, err)
		}
	}
}

func TestHashPasswordRefusals(t *testing.T) {
	for _, row := range []struct {
		name, in string
		args     []string
		status   int
		says     string
	}{
		{"nothing", "", nil, cli.Fault, "blank"},
		{"empty line", "\n", nil, cli.Fault, "blank"},
		{"a second line", "one\ntwo\n", nil, cli.Fault, "second line"},
		{"too long", strings.Repeat("x", 1025), nil, cli.Fault, "longer than 1024 octets"},
		{"NUL", "a\x00b\n", nil, cli.Fault, "control character"},
		{"too long for bcrypt", strings.Repeat("x", 73), []string{"-bcrypt"}, cli.Fault, "72"},
		{"unknown flag", "x", []string{"-md5"}, cli.Usage, "-md5"},
		{"password as argument", "", []string{"secret"}, cli.Usage, "unexpected argument"},
	} {
		status, out, errs := runVerb(row.in, append([]string{"hash-password"}, row.args...)...)
		if status != row.status || !strings.Contains(errs, row.says) || out != "" {
			t.Errorf("%s: status %d, out %q, error %q; want %d, %q", row.name, status, out, errs, row.status, row.says)
		}
	}
}
