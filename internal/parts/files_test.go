package parts

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesAreKnownForWhatTheyAre: archives and documents of zip, 7-Zip, qpdf and
// others, whose names say what is to be found in them.
func TestFilesAreKnownForWhatTheyAre(t *testing.T) {
	files, err := filepath.Glob("testdata/files/*")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		m := multipart("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(octets) + "\n")
		r := walked(t, m, "exe", "*vbaproject.bin")
		want := ""
		switch {
		case strings.HasPrefix(name, "exe"):
			want = "exe"
		case strings.HasPrefix(name, "macros"):
			want = "*vbaproject.bin"
		}
		if name == "zip-in-zip.zip" {
			want = "exe"
		}
		if encrypted := strings.HasPrefix(name, "encrypted"); r.Refused != want || (r.Encrypted != "") != encrypted || r.Ambiguous != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestKindsAreToldByTheirFirstOctets(t *testing.T) {
	for _, c := range []struct{ octets, kind string }{
		{program, "exe"},
		{"MZ-Verlag, Leipzig: ein Text", ""},
		{"\x7fELF\x02\x01\x01", "elf"},
		{strings.Repeat("\x00", 32768) + "\x01CD001\x01", "iso"},
		{strings.Repeat("\x00", 32768) + "\x00BEA01\x01", "iso"},
		{"L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46", "lnk"},
		{"#!/bin/sh\nrm -rf /\n", "sh"},
		{"Rar!\x1a\x07\x01\x00", "rar"},
		{"7z\xbc\xaf\x27\x1c\x00\x04", "7z"},
		{"%PDF-1.7\n", "pdf"},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600) + "\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46", "msi"},
	} {
		m := multipart("Content-Type: image/png; name=holiday.png\nContent-Transfer-Encoding: base64\n\n" + encoded(c.octets))
		r := walked(t, m, "exe", "elf", "iso", "lnk", "sh", "rar", "7z", "pdf", "msi")
		if r.Refused != c.kind {
			t.Errorf("%.20q: %+v, want %s", c.octets, r, c.kind)
		}
	}
}

// TestSignedMailIsLookedInto: readers show what lies in S/MIME that is only signed.
func TestSignedMailIsLookedInto(t *testing.T) {
	files, err := filepath.Glob("testdata/smime/*")
	if err != nil || len(files) != 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range []string{"Content-Type: application/pkcs7-mime; smime-type=any", "Content-Type: application/octet-stream; name=smime.p7m"} {
			m := "From: a@example.org\n" + header + "\nContent-Transfer-Encoding: base64\n\n" + strings.ReplaceAll(encoded(string(octets)), "\r", "")
			r := walked(t, m, "exe")
			name := filepath.Base(file)
			if (r.Refused != "") != strings.HasPrefix(name, "exe") || (r.Ambiguous != "") != strings.HasPrefix(name, "ambiguous") {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// letter is a compound file as Outlook writes messages, with some streams.
func letter(streams ...string) string {
	s := "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 1016)
	for _, stream := range streams {
		s += stream + strings.Repeat("\x00", 512-len(stream)%512)
	}
	return s
}

func TestOutlookMessagesAreLookedInto(t *testing.T) {
	directory := string(wide("__substg1.0_3707001F"))
	for name, c := range map[string]struct {
		octets string
		want   string
	}{
		"a name":                {letter(string(wide("evil.exe")), directory), "exe"},
		"a program":             {letter(directory, program), "exe"},
		"a harmless name":       {letter(string(wide("good.pdf and more. text")), directory), ""},
		"a text, not a message": {letter(string(wide("evil.exe")), program), ""},
	} {
		r := walked(t, strings.ReplaceAll(asFile(c.octets), "\r", ""), "exe")
		if r.Refused != c.want || r.Ambiguous != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestAttachmentsOfWinmailDatAreSeen(t *testing.T) {
	title := func(name string) string {
		return "\x02\x10\x80\x01\x00" + string(rune(len(name)+1)) + "\x00\x00\x00" + name + "\x00\x00\x00"
	}
	long := func(name string) string {
		return "\x1f\x00\x07\x37\x01\x00\x00\x00" + string(rune(2*len(name)+2)) + "\x00\x00\x00" + string(wide(name)) + "\x00\x00"
	}
	for name, c := range map[string]struct{ octets, want string }{
		"a title":          {title("EVIL.EXE"), "exe"},
		"a long name":      {title("GOOD~1.PDF") + long("evil.exe"), "exe"},
		"a program":        {title("GOOD.PDF") + "\x02\x0f\x80\x06\x00\x40\x00\x00\x00" + program, "exe"},
		"a harmless title": {title("GOOD.PDF"), ""},
	} {
		r := walked(t, strings.ReplaceAll(asFile("\x78\x9f\x3e\x22\x01\x00"+c.octets), "\r", ""), "exe")
		if r.Refused != c.want || r.Ambiguous != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestNamesOfRARInUnicode: the second name of an entry is the one that is shown.
func TestNamesOfRARInUnicode(t *testing.T) {
	w := &walk{want: Want{Refused: NewRules("exe")}}
	f := w.newFile()
	// Four letters of the other name, then others: "good.txt" is shown as "good.exe".
	f.rar4Wide([]byte("good.txt"), []byte{0x00, 0xc0, 0x03, 'e', 'x', 'e', 0})
	if w.report.Refused != "exe" {
		t.Errorf("%+v", w.report)
	}
}
