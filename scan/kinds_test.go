package scan

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-milter"
)

func TestClamdAnswers(t *testing.T) {
	for said, want := range map[string]Class{
		"stream: OK":                         Clean,
		"stream: Eicar-Test-Signature FOUND": Virus,
		"stream: Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68) FOUND": Virus,
		"stream: Heuristics.Encrypted.Zip FOUND":                                  Encrypted,
		"stream: Heuristics.OLE2.ContainsMacros FOUND":                            Macros,
		"stream: Heuristics.OLE2.ContainsMacros.VBA FOUND":                        Macros,
		"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND":                   Unscannable,
		"stream: Heuristics.Phishing.Email.SpoofedDomain FOUND":                   Virus,
		"INSTREAM size limit exceeded. ERROR":                                     Unscannable,
		"stream: Can't allocate memory ERROR":                                     Fault,
		"stream: OK ":                                                             Fault,
		"OK":                                                                      Fault,
		"stream:  FOUND":                                                          Fault,
		"stream: FOUND":                                                           Fault,
		"":                                                                        Fault,
		"UNKNOWN COMMAND":                                                         Fault,
		"stream: ok":                                                              Fault,
		"1: stream: OK":                                                           Fault,
		"stream: OK\nstream: Eicar FOUND":                                         Fault,
	} {
		v, err := parseClamd(said)
		if err != nil {
			v.Class = Fault
		}
		if v.Class != want {
			t.Errorf("%q: %s, want %s", said, v.Class, want)
		}
	}
}

// TestClamdGivesOneAnswer: what has one more behind it is none.
func TestClamdGivesOneAnswer(t *testing.T) {
	for said, want := range map[string]string{"stream: OK\x00": "stream: OK", "stream: OK\x00stream: Eicar FOUND\x00": "", "stream: OK": ""} {
		if got, err := readLine(strings.NewReader(said)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
}

func TestRspamdAnswers(t *testing.T) {
	for _, c := range []struct {
		said string
		want Class
	}{
		{`{"action":"no action","is_skipped":false,"score":0.1,"symbols":{"CLAM_RAN":{"name":"CLAM_RAN"}}}`, Clean},
		{`{"action":"greylist","is_skipped":false,"symbols":{"CLAM_RAN":{}}}`, Clean},
		{`{"action":"no action","is_skipped":false,"symbols":{}}`, Fault}, // the required symbol is missing
		{`{"action":"no action","is_skipped":true,"symbols":{"CLAM_RAN":{}}}`, Fault},
		{`{"action":"no action","symbols":{"CLAM_RAN":{}}}`, Fault},
		{`{"action":"add header","is_skipped":false}`, Suspicious},
		{`{"action":"rewrite subject","subject":"x","is_skipped":false}`, Suspicious},
		{`{"action":"soft reject","messages":{"smtp_message":"Try again later"}}`, Later},
		{`{"action":"reject","messages":{"smtp_message":"Gtube pattern"},"symbols":{"GTUBE":{}}}`, Spam},
		{`{"action":"reject","symbols":{"CLAM_VIRUS":{}}}`, Virus},
		{`{"action":"no action","is_skipped":false,"symbols":{"CLAM_RAN":{}},"milter":{"reject":"discard"}}`, Spam},
		{`{"action":"no action","is_skipped":false,"symbols":{"CLAM_RAN":{}},"milter":{"reject":"quarantine"}}`, Spam},
		{`{"action":"quarantine","is_skipped":false}`, Fault},
		{`{"action":"discard","is_skipped":false}`, Fault},
		{`{"action":"No Action","is_skipped":false,"symbols":{"CLAM_RAN":{}}}`, Fault},
		{`{"is_skipped":false}`, Fault},
		{`{"error":"invalid metric"}`, Fault},
		{`[]`, Fault}, {`null`, Fault}, {``, Fault}, {`{"action":"no action"`, Fault}, {`{"action":5}`, Fault},
	} {
		v, err := parseRspamd([]byte(c.said), []string{"CLAM_RAN"}, false)
		if err != nil {
			v.Class = Fault
		}
		if v.Class != c.want {
			t.Errorf("%s: %s (%v), want %s", c.said, v.Class, err, c.want)
		}
	}
}

func TestRspamdIsToldOfTheMessage(t *testing.T) {
	r := &rspamd{target: target{host: "h:1", path: ""}, settings: "outbound"}
	m := message("body\r\n")
	m.Helo = "evil\r\nX-Injected: yes"
	got := string(r.head(m))
	for _, want := range []string{"POST /checkv2 HTTP/1.1\r\n", "From: a@example.org\r\n", "Rcpt: b@example.net\r\nRcpt: c@example.com\r\n",
		"IP: 192.0.2.1\r\n", "User: u\r\n", "Queue-Id: ID1\r\n", "Settings-ID: outbound\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(got, "Injected") {
		t.Errorf("a line break of the client came through: %q", got)
	}
}

// icapServer answers OPTIONS with options and RESPMOD with what answer makes of
// the body that was sent.
func icapServer(t *testing.T, options string, answer func(body []byte) string) *server {
	return serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		head, err := readBlock(r)
		if err != nil {
			return
		}
		if strings.HasPrefix(head, "OPTIONS") {
			io.WriteString(c, "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nISTag: \"T1\"\r\n"+options+"Encapsulated: null-body=0\r\n\r\n")
			return
		}
		readBlock(r) // the request
		readBlock(r) // the response
		body, err := readChunks(r)
		if err != nil {
			return
		}
		if strings.Contains(head, "Preview:") && !bytes.HasSuffix(body, []byte("IEOF")) {
			io.WriteString(c, "ICAP/1.0 100 Continue\r\n\r\n")
			rest, err := readChunks(r)
			if err != nil {
				return
			}
			body = append(body, rest...)
		}
		io.WriteString(c, answer(bytes.TrimSuffix(body, []byte("IEOF"))))
	})
}

func readBlock(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String(), nil
		}
	}
}

func readChunks(r *bufio.Reader) ([]byte, error) {
	var all []byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, ext, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return nil, err
		}
		part := make([]byte, n+2)
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		all = append(all, part[:n]...)
		if n == 0 {
			if strings.TrimSpace(ext) == "ieof" {
				all = append(all, "IEOF"...)
			}
			return all, nil
		}
	}
}

func page(status string, body []byte, more string) string {
	head := "HTTP/1.1 " + status + "\r\nContent-Type: text/plain\r\n\r\n"
	return fmt.Sprintf("ICAP/1.0 200 OK\r\nISTag: \"T1\"\r\n%sEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%x\r\n%s\r\n0\r\n\r\n",
		more, len(head), head, len(body), body)
}

func TestICAPAnswers(t *testing.T) {
	m := message("hello\r\n")
	same, _ := io.ReadAll(m.Content.Reader())
	const ok204 = "ICAP/1.0 204 No Content\r\nISTag: \"T1\"\r\n\r\n"
	with := func(field string) string { return strings.Replace(ok204, "\r\n\r\n", "\r\n"+field+"\r\n\r\n", 1) }
	for _, c := range []struct {
		name, said string
		want       Class
	}{
		{"204", ok204, Clean},
		{"204 without a reason", "ICAP/1.0 204\r\n\r\n", Clean},
		{"c-icap virus_scan", page("403 Forbidden", []byte("VIRUS FOUND"), "X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test-Signature;\r\n"), Virus},
		{"infection beside the body given back", page("200 OK", same, "X-Infection-Found: Type=0; Resolution=1; Threat=EICAR;\r\n"), Virus},
		{"infection beside 204", with("X-Infection-Found: Type=0; Resolution=0; Threat=EICAR;"), Virus},
		{"symantec container violation", page("200 OK", same, "X-Infection-Found: Type=2; Resolution=2; Threat=Encrypted container violation;\r\n"), Unscannable},
		{"policy violation", page("200 OK", same, "X-Infection-Found: Type=1; Resolution=2; Threat=DLP;\r\n"), Policy},
		{"X-Virus-ID", page("403 Forbidden", nil, "X-Virus-ID: Troj/Eicar\r\n"), Virus},
		{"x-virus-id in small letters", with("x-virus-id: EICAR-AV-Test"), Virus},
		{"X-Virus-Name none", with("X-Virus-Name: no threats"), Clean},
		{"X-Virus-ID none", with("X-Virus-ID: No Threats"), Clean},
		{"X-Virus-Name", with("X-Virus-Name: EICAR"), Virus},
		{"F-Secure clean", with("X-FSecure-Scan-Result: clean"), Clean},
		{"F-Secure infected", page("200 OK", same, "X-FSecure-Scan-Result: infected\r\nX-FSecure-Infection-Name: \"EICAR\"\r\n"), Virus},
		{"F-Secure suspicious", with("X-FSecure-Scan-Result: suspicious"), Virus},
		{"McAfee block reason", page("403 VirusFound", nil, "X-Block-Reason: Malware found\r\n"), Policy},
		{"X-Blocked", with("X-Blocked: 1"), Policy},
		{"Kaspersky blocked", with("X-Response-Info: blocked"), Policy},
		{"Kaspersky BLOCKED", with("x-response-info: BLOCKED"), Policy},
		{"squidclamav redirect", page("307 Temporary Redirect", nil, ""), Policy},
		{"encapsulated 403", page("403 Forbidden", []byte("no"), ""), Policy},
		{"encapsulated 451", page("451 Unavailable", []byte("no"), ""), Policy},
		{"encapsulated 500", page("500 Oops", nil, ""), Fault},
		{"given back without a verdict", page("200 OK", same, ""), Unscannable},
		{"modified", page("200 OK", []byte("disarmed"), ""), Unscannable},
		{"same length, other body", page("200 OK", bytes.Repeat([]byte("x"), len(same)), ""), Unscannable},
		{"no body", "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Unscannable},
		{"200 with nothing in it", "ICAP/1.0 200 OK\r\n\r\n", Fault},
		{"body cut off", strings.TrimSuffix(page("200 OK", same, ""), "0\r\n\r\n"), Fault},
		{"404", "ICAP/1.0 404 Service not found\r\n\r\n", Fault},
		{"418", "ICAP/1.0 418 Bad composition\r\n\r\n", Fault},
		{"500", "ICAP/1.0 500 Server error\r\n\r\n", Fault},
		{"539", "ICAP/1.0 539 Aborted - No AV scanning license\r\n\r\n", Fault},
		{"206", "ICAP/1.0 206 Partial Content\r\n\r\n", Fault},
		{"201", "ICAP/1.0 201 Created\r\n\r\n", Fault},
		{"100 without a preview", "ICAP/1.0 100 Continue\r\n\r\n", Fault},
		{"HTTP", "HTTP/1.1 200 OK\r\n\r\n", Fault},
		{"end of stream", "", Fault},
		{"half a header", "ICAP/1.0 204 No Content\r\nX-In", Fault},
		{"Encapsulated that is wrong", "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=99999999\r\n\r\n", Fault},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := icapServer(t, "Allow: 204\r\n", func([]byte) string { return c.said })
			v, err := askRaw(t, config(func(k *Config) { k.ICAP = "icap://" + s.address() + "/avscan" }), m)
			if err != nil {
				v.Class = Fault
			}
			if v.Class != c.want {
				t.Errorf("%s %q (%v), want %s", v.Class, v.Text, err, c.want)
			}
		})
	}
}

// TestICAPHeadIsBounded whatever the size of the message, whose octets a server may give
// back: the fields of a head are kept, and take many times what they took on the wire.
func TestICAPHeadIsBounded(t *testing.T) {
	var fields strings.Builder
	for i := 0; fields.Len() < 2*maxAnswer; i++ {
		fmt.Fprintf(&fields, "X-%d: y\r\n", i)
	}
	s := icapServer(t, "Allow: 204\r\n", func([]byte) string {
		return "ICAP/1.0 204 No Content\r\n" + fields.String() + "\r\n"
	})
	m := message(strings.Repeat("hello\r\n", 4*maxAnswer/7))
	v, err := askRaw(t, config(func(k *Config) { k.ICAP = "icap://" + s.address() + "/avscan" }), m)
	if err == nil {
		t.Errorf("%s, where the head has %d octets", v.Class, fields.Len())
	}
}

func TestICAPPreview(t *testing.T) {
	for _, preview := range []string{"4", "100000"} {
		var got []byte
		s := icapServer(t, "Preview: "+preview+"\r\n", func(body []byte) string {
			got = body
			return "ICAP/1.0 204 No Content\r\n\r\n"
		})
		m := message(strings.Repeat("line\r\n", 50))
		v, err := askRaw(t, config(func(k *Config) { k.ICAP = "icap://" + s.address() + "/avscan" }), m)
		s.close()
		want, _ := io.ReadAll(m.Content.Reader())
		if err != nil || v.Class != Clean || !bytes.Equal(got, want) {
			t.Errorf("preview %s: %v %v, %d octets came of %d", preview, v.Class, err, len(got), len(want))
		}
	}
}

// A 204 to a preview says nothing about what was not sent.
func TestICAPVerdictOnThePreviewOnlyIsNoYes(t *testing.T) {
	s := serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		head, _ := readBlock(r)
		if strings.HasPrefix(head, "OPTIONS") {
			io.WriteString(c, "ICAP/1.0 200 OK\r\nPreview: 4\r\nEncapsulated: null-body=0\r\n\r\n")
			return
		}
		readBlock(r)
		readBlock(r)
		readChunks(r)
		io.WriteString(c, "ICAP/1.0 204 No Content\r\n\r\n")
	})
	v, err := askRaw(t, config(func(k *Config) { k.ICAP = "icap://" + s.address() + "/avscan" }), message("hello\r\n"))
	if err != nil || v.Class != Unscannable {
		t.Errorf("%v %v, want unscannable", v.Class, err)
	}
}

// backend is a milter that answers at the end of the message.
type backend struct {
	milter.NoOpMilter
	end func(*milter.Modifier) (milter.Response, error)
}

func (b *backend) Body(m *milter.Modifier) (milter.Response, error) { return b.end(m) }

func milterServer(t *testing.T, end func(*milter.Modifier) (milter.Response, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &milter.Server{NewMilter: func() milter.Milter { return &backend{end: end} }, Actions: milter.OptAddHeader | milter.OptQuarantine}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); l.Close(); <-done })
	return l.Addr().String()
}

func TestMilterAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*milter.Modifier) (milter.Response, error)
		want Class
		code int
	}{
		{"accept", func(*milter.Modifier) (milter.Response, error) { return milter.RespAccept, nil }, Clean, 0},
		{"continue", func(*milter.Modifier) (milter.Response, error) { return milter.RespContinue, nil }, Clean, 0},
		{"reject", func(*milter.Modifier) (milter.Response, error) { return milter.RespReject, nil }, Policy, 550},
		{"tempfail", func(*milter.Modifier) (milter.Response, error) { return milter.RespTempFail, nil }, Later, 451},
		{"discard", func(*milter.Modifier) (milter.Response, error) { return milter.RespDiscard, nil }, Policy, 0},
		{"reply 554", func(*milter.Modifier) (milter.Response, error) {
			return milter.NewResponseStr('y', "554 5.7.9 Gtube\tpattern of x@y.example"), nil
		}, Policy, 554},
		{"reply 452", func(*milter.Modifier) (milter.Response, error) {
			return milter.NewResponseStr('y', "452 4.2.2 full"), nil
		}, Later, 452},
		{"reply 250", func(*milter.Modifier) (milter.Response, error) {
			return milter.NewResponseStr('y', "250 2.0.0 ok"), nil
		}, Fault, 0},
		{"quarantine", func(m *milter.Modifier) (milter.Response, error) { return milter.RespAccept, m.Quarantine("held") }, Policy, 0},
		{"accepted field", func(m *milter.Modifier) (milter.Response, error) {
			return milter.RespAccept, m.AddHeader("X-Checked", "yes")
		}, Clean, 0},
		{"fields without end", func(m *milter.Modifier) (milter.Response, error) {
			for range maxFields + 1 {
				if err := m.AddHeader("X-Checked", "yes"); err != nil {
					return nil, err
				}
			}
			return milter.RespAccept, nil
		}, Fault, 0},
		{"other field", func(m *milter.Modifier) (milter.Response, error) {
			return milter.RespAccept, m.AddHeader("DKIM-Signature", "v=1")
		}, Clean, 0},
		{"changed field", func(m *milter.Modifier) (milter.Response, error) {
			return milter.RespAccept, m.ChangeHeader(1, "Subject", "y")
		}, Fault, 0},
		{"replaced body", func(m *milter.Modifier) (milter.Response, error) {
			return milter.RespAccept, m.ReplaceBody([]byte("y"))
		}, Fault, 0},
		{"field with a line break", func(m *milter.Modifier) (milter.Response, error) {
			return milter.RespAccept, m.AddHeader("X-Checked", "yes\x01no")
		}, Fault, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := milterServer(t, c.end)
			v, err := askRaw(t, config(func(k *Config) { k.Milter, k.AcceptHeaders = "inet:"+address, []string{"x-checked"} }), message("hello\r\n"))
			if err != nil {
				v.Class = Fault
			}
			if v.Class != c.want || v.Code != c.code {
				t.Errorf("%s %d %q (%v), want %s %d", v.Class, v.Code, v.Text, err, c.want, c.code)
			}
			if strings.Contains(v.Text, "@") {
				t.Errorf("text %q tells an address", v.Text)
			}
			if got := len(v.Fields); got != 0 != (c.name == "accepted field") {
				t.Errorf("%d fields", got)
			}
		})
	}
}

func TestMilterSeesTheMessage(t *testing.T) {
	var got []string
	for name, value := range fields([]byte("From: a\r\nSubject: x\r\n\ty\r\nTo:b\r\n\r\n")) {
		got = append(got, name+"="+value)
	}
	if want := "[From=a Subject=x\n\ty To=b]"; fmt.Sprint(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNothingIsCleanBeforeItsEnd: an answer that was there before the last of the message
// was sent is about another one, or about none. What refuses may come sooner.
func TestNothingIsCleanBeforeItsEnd(t *testing.T) {
	content := strings.NewReader(strings.Repeat("hello\r\n", 2<<20))
	m := message("")
	m.Content.File, m.Content.FileSize = content, content.Size()
	hasty := func(answer string) *server { // it says so first, and reads then
		return serve(t, func(c net.Conn) {
			if r := bufio.NewReader(c); strings.HasPrefix(answer, "ICAP/1.0 204") {
				head, _ := readBlock(r)
				if strings.HasPrefix(head, "OPTIONS") {
					io.WriteString(c, "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nAllow: 204\r\nEncapsulated: null-body=0\r\n\r\n")
					return
				}
			}
			io.WriteString(c, answer)
			io.Copy(io.Discard, c)
		})
	}
	page := func(json string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(json), json)
	}
	steps := "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x00" + strings.Repeat("\x00\x00\x00\x01c", 1000)
	for _, row := range []struct {
		name, answer string
		want         Class
	}{
		{"clamd", "stream: OK\x00", Fault}, {"clamd", "stream: Eicar FOUND\x00", Virus},
		{"rspamd", page(`{"is_skipped":false,"action":"no action"}`), Fault}, {"rspamd", page(`{"is_skipped":false,"action":"reject"}`), Spam},
		{"icap", "ICAP/1.0 204 No Content\r\n\r\n", Fault}, {"milter", steps, Fault},
	} {
		s := hasty(row.answer)
		v, err := askRaw(t, config(kinds(s.address())[row.name]), m)
		if err != nil {
			v.Class = Fault
		}
		if v.Class != row.want {
			t.Errorf("%s %.40q: %s, %v", row.name, row.answer, v.Class, err)
		}
		s.close()
	}
}
