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
