package syntax

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"postern/mail"
)

func TestMailCommand(t *testing.T) {
	from := mail.Address{Local: "a", Domain: "example.org"}
	for _, tt := range []struct {
		name, params string
		want         mail.Envelope
		err          error
	}{
		{name: "none", params: ""},
		{name: "size", params: " SIZE=1000", want: mail.Envelope{Size: 1000}},
		{name: "size in lower case", params: " size=0", want: mail.Envelope{}},
		{name: "size of twenty digits", params: " SIZE=99999999999999999999", want: mail.Envelope{Size: math.MaxInt64}},
		{name: "body", params: " BODY=8bitmime", want: mail.Envelope{Body: mail.Body8Bit}},
		{name: "all of them", params: " SIZE=1 BODY=BINARYMIME SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<> REQUIRETLS", want: mail.Envelope{
			Size: 1, Body: mail.BodyBinary, UTF8: true, Ret: "HDRS", EnvID: "a+2Bb", Auth: "<>", RequireTLS: true}},
		{name: "more spaces than one", params: "   SIZE=1   RET=FULL  ", want: mail.Envelope{Size: 1, Ret: "FULL"}},
		{name: "longest envelope id", params: " ENVID=" + strings.Repeat("x", 100), want: mail.Envelope{EnvID: strings.Repeat("x", 100)}},
		{name: "authenticated address", params: " AUTH=e+3Dmc2@example.com", want: mail.Envelope{Auth: "e+3Dmc2@example.com"}},

		{name: "unknown", params: " HOLDFOR=10", err: ErrUnknownParam},
		{name: "unknown without value", params: " XVERP", err: ErrUnknownParam},
		{name: "recipient's parameter", params: " NOTIFY=NEVER", err: ErrUnknownParam},
		{name: "known one twice", params: " SIZE=1 size=1", err: ErrBadParam},
		{name: "flag twice", params: " SMTPUTF8 SMTPUTF8", err: ErrBadParam},
		{name: "not a keyword", params: " S!ZE=1", err: ErrBadParam},
		{name: "no keyword", params: " =1", err: ErrBadParam},
		{name: "hyphen first", params: " -x", err: ErrBadParam},
		{name: "tab between", params: " SIZE=1\tRET=FULL", err: ErrBadParam},
		{name: "size without value", params: " SIZE", err: ErrBadParam},
		{name: "size with empty value", params: " SIZE=", err: ErrBadParam},
		{name: "negative size", params: " SIZE=-1", err: ErrBadParam},
		{name: "size with a sign", params: " SIZE=+1", err: ErrBadParam},
		{name: "size in hexadecimal", params: " SIZE=0x10", err: ErrBadParam},
		{name: "size of 21 digits", params: " SIZE=000000000000000000001", err: ErrBadParam},
		{name: "unknown body", params: " BODY=9BIT", err: ErrBadParam},
		{name: "empty body", params: " BODY=", err: ErrBadParam},
		{name: "SMTPUTF8 with a value", params: " SMTPUTF8=yes", err: ErrBadParam},
		{name: "SMTPUTF8 with an empty value", params: " SMTPUTF8=", err: ErrBadParam},
		{name: "REQUIRETLS with a value", params: " REQUIRETLS=1", err: ErrBadParam},
		{name: "unknown return", params: " RET=NONE", err: ErrBadParam},
		{name: "envelope id too long", params: " ENVID=" + strings.Repeat("x", 101), err: ErrBadParam},
		{name: "envelope id empty", params: " ENVID=", err: ErrBadParam},
		{name: "xtext with equals", params: " ENVID=a=b", err: ErrBadParam},
		{name: "xtext in lower case", params: " ENVID=a+2b", err: ErrBadParam},
		{name: "xtext cut", params: " ENVID=a+2", err: ErrBadParam},
		{name: "xtext of a control", params: " ENVID=a+0D+0A", err: ErrBadParam},
		{name: "xtext beyond ASCII", params: " ENVID=ä", err: ErrBadParam},
		{name: "auth empty", params: " AUTH=", err: ErrBadParam},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, err := MailCommand("<a@example.org>" + tt.params)
			if tt.err == nil {
				tt.want.From = from
			}
			if !reflect.DeepEqual(env, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%q: %+v, %v; want %+v, %v", tt.params, env, err, tt.want, tt.err)
			}
		})
	}
}

func TestMailCommandKnowsSMTPUTF8BeforeTheAddress(t *testing.T) {
	if env, err := MailCommand("<jdöe@example.org> SMTPUTF8"); err != nil || env.From.Local != "jdöe" {
		t.Errorf("%+v, %v", env, err)
	}
	for _, in := range []string{"<jdöe@example.org>", "<jdöe@example.org> BODY=8BITMIME", "<a@mächine.example> SIZE=1"} {
		if _, err := MailCommand(in); !errors.Is(err, errNonASCII) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestRcptCommand(t *testing.T) {
	for _, tt := range []struct {
		name, params  string
		utf8          bool
		notify, orcpt string
		err           error
	}{
		{name: "none"},
		{name: "never", params: " NOTIFY=never", notify: "NEVER"},
		{name: "the three", params: " NOTIFY=SUCCESS,failure,DELAY", notify: "SUCCESS,FAILURE,DELAY"},
		{name: "original recipient", params: " ORCPT=rfc822;a+2Bb@example.org", orcpt: "rfc822;a+2Bb@example.org"},
		{name: "both", params: " NOTIFY=DELAY ORCPT=x400;/c=de", err: ErrBadParam},
		{name: "original recipient in UTF-8", params: ` ORCPT=utf-8;jdöe\x{20}@example.org`, utf8: true, orcpt: `utf-8;jdöe\x{20}@example.org`},

		{name: "UTF-8 without SMTPUTF8", params: " ORCPT=utf-8;jdöe@example.org", err: ErrBadParam},
		{name: "UTF-8 in another type", params: " ORCPT=rfc822;jdöe@example.org", utf8: true, err: ErrBadParam},
		{name: "code point of a control", params: ` ORCPT=utf-8;\x{0D}`, utf8: true, err: ErrBadParam},
		{name: "code point that does not end", params: ` ORCPT=utf-8;\x{20`, utf8: true, err: ErrBadParam},
		{name: "never and another", params: " NOTIFY=NEVER,DELAY", err: ErrBadParam},
		{name: "one twice", params: " NOTIFY=DELAY,DELAY", err: ErrBadParam},
		{name: "empty list", params: " NOTIFY=", err: ErrBadParam},
		{name: "empty element", params: " NOTIFY=DELAY,", err: ErrBadParam},
		{name: "unknown event", params: " NOTIFY=READ", err: ErrBadParam},
		{name: "no value", params: " NOTIFY", err: ErrBadParam},
		{name: "twice", params: " NOTIFY=DELAY NOTIFY=DELAY", err: ErrBadParam},
		{name: "no address type", params: " ORCPT=a@example.org", err: ErrBadParam},
		{name: "empty address type", params: " ORCPT=;a@example.org", err: ErrBadParam},
		{name: "empty address", params: " ORCPT=rfc822;", err: ErrBadParam},
		{name: "xtext of CR LF", params: " ORCPT=rfc822;a+0D+0A", err: ErrBadParam},
		{name: "too long", params: " ORCPT=rfc822;" + strings.Repeat("x", 494), err: ErrBadParam},
		{name: "sender's parameter", params: " SIZE=1", err: ErrUnknownParam},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := RcptCommand("<b@example.org>"+tt.params, tt.utf8, false)
			if r.Notify != tt.notify || r.ORcpt != tt.orcpt || !errors.Is(err, tt.err) {
				t.Errorf("%q: %+v, %v; want %q, %q, %v", tt.params, r, err, tt.notify, tt.orcpt, tt.err)
			}
		})
	}
}
