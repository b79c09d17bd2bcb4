package relay

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
	"postern/syntax"
)

// What one message had must not come to another, least of all one of another
// client.
func TestTransactionUsedAgainRemembersNothing(t *testing.T) {
	used := transactions.New().(*transaction)
	fill(reflect.ValueOf(&used.ev).Elem())
	used.s, used.snap, used.lost, used.refusedBy, used.charged = new(session), new(Snapshot), new(mail.Reply), "rule", 2
	used.holds, used.over, used.stage, used.last = true, true, stageMail, mail.Reply{Code: 250}
	used.claims = []func(){func() {}}
	used.accepted = append(used.accepted, taken{1, 2})
	used.looks = append(used.looks, ratelimit.Look{Limit: "a", Top: []string{"b"}})
	used.env = mail.Envelope{From: mail.Address{Local: "a", Domain: "b.example"}, To: make([]mail.Recipient, 3), UTF8: true}
	used.env.To[2].Address.Local = "r"
	used.message = message{raw: []byte("x"), header: syntax.Header{{Raw: []byte("From: a")}}, rule: "header"}
	used.in.header, used.in.inBody, used.in.size = []byte("From: a"), true, 7
	used.in.scan.broken, used.in.scan.line = true, 3

	used.empty()

	fresh := transactions.New().(*transaction)
	for _, p := range differences("", reflect.ValueOf(used).Elem(), reflect.ValueOf(fresh).Elem()) {
		t.Errorf("left over in %s", p)
	}
	if used.ev.To == nil {
		t.Error("ev.To is nil: journals would say null")
	}
	if e := used.ev.To[:1][0]; e.Address != "" {
		t.Errorf("the room for recipients still holds %q", e.Address)
	}
	if n := used.env.To[:3][2].Address.Local; n != "" {
		t.Errorf("the room of the envelope still holds %q", n)
	}
	if l := used.looks[:1][0]; l.Limit != "" {
		t.Errorf("the room for limits still holds %q", l.Limit)
	}
}

// fill gives each field of an event some value that is not zero.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[netip.Addr]():
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.CanInt():
		v.SetInt(1)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	}
}

// differences are the fields in which got is not as want. Slices are compared
// by length and functions by being there.
func differences(path string, got, want reflect.Value) (at []string) {
	switch got.Kind() {
	case reflect.Struct:
		for i := range got.NumField() {
			at = append(at, differences(path+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))...)
		}
		return at
	case reflect.Slice:
		if got.Len() == want.Len() {
			return nil
		}
	case reflect.Func, reflect.Interface, reflect.Pointer, reflect.Map, reflect.Chan:
		if got.IsNil() == want.IsNil() {
			return nil
		}
	default:
		if got.Equal(want) {
			return nil
		}
	}
	return []string{path}
}

// A giant is not kept: it would hold its room for as long as the relay runs.
func TestLargeTransactionIsNotUsedAgain(t *testing.T) {
	large := transactions.New().(*transaction)
	large.ev.To = make([]mail.RecipientEvent, maxKept+1)
	large.ev.Host = "mx.example"
	large.reuse()
	if large.ev.Host == "" {
		t.Error("a transaction of many recipients was made ready to be used again")
	}
}

// The text of a second is kept, and must not be that of another one.
func TestDateOfEachSecond(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "Sun, 1 Mar 2026 12:00:00 +0100"},
		{999 * time.Millisecond, "Sun, 1 Mar 2026 12:00:00 +0100"},
		{time.Second, "Sun, 1 Mar 2026 12:00:01 +0100"},
		{0, "Sun, 1 Mar 2026 12:00:00 +0100"},
	} {
		if got := string(appendDate(nil, at.Add(c.after))); got != c.want {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
}
