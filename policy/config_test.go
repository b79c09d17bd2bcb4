package policy

import (
	"testing"
	"time"
)

func TestAutomaticRepliesText(t *testing.T) {
	for _, tt := range []struct {
		text string
		want AutomaticReplies
	}{
		{"reject", AutomaticReplies{Mode: RejectReplies}},
		{"allow", AutomaticReplies{Mode: AllowReplies}},
		{"once_per_recipient/7d", AutomaticReplies{OncePerRecipient, 7 * day}},
		{"once_per_recipient/90m", AutomaticReplies{OncePerRecipient, 90 * time.Minute}},
		{"once_per_recipient/366d", AutomaticReplies{OncePerRecipient, 366 * day}},
		{"once_per_recipient/60s", AutomaticReplies{OncePerRecipient, time.Minute}},
	} {
		var got AutomaticReplies
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
		text, err := got.MarshalText()
		var again AutomaticReplies
		if err != nil || again.UnmarshalText(text) != nil || again != got {
			t.Errorf("%s is written as %s, %v", tt.text, text, err)
		}
	}
	for _, text := range []string{
		"", "Reject", "reject/7d", "allow/", "once_per_recipient", "once_per_recipient/", "once_per_recipient/7", "once_per_recipient/d",
		"once_per_recipient/0d", "once_per_recipient/59s", "once_per_recipient/367d", "once_per_recipient/1.5d", "once_per_recipient/-7d",
		"once_per_recipient/+7d", "once_per_recipient/7w", "once_per_recipient/99999999999999999999d", "never",
	} {
		got := AutomaticReplies{Mode: RejectReplies}
		if err := got.UnmarshalText([]byte(text)); err == nil || got.Mode != RejectReplies {
			t.Errorf("%q is taken as %+v", text, got)
		}
	}
}

func TestWordsAreTakenExactly(t *testing.T) {
	for _, v := range []interface{ UnmarshalText([]byte) error }{
		new(NullSender), new(Mismatch), new(Switch), new(Unsubscribe),
	} {
		for _, text := range []string{"", "Reject", "REJECT", " reject", "true", "*"} {
			if err := v.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%T takes %q", v, text)
			}
		}
	}
	var s Switch
	if err := s.UnmarshalText([]byte("never")); err == nil || err.Error() != `"never" is unknown; write one of "reject", "allow"` {
		t.Error(err)
	}
	var n NullSender
	if err := n.UnmarshalText([]byte("limit")); err != nil || n != LimitNull {
		t.Error(n, err)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	var c ClientConfig
	c.SetDefaults()
	if c.NullSender != LimitNull || len(c.NullSenderLimit) != 1 || c.NullSenderLimit[0] != "20/1h" ||
		c.FromMismatch != RejectMismatch || c.DisplayNameAddress != Allow || c.DuplicateFields != Reject ||
		c.AutomaticReplies != (AutomaticReplies{OncePerRecipient, 7 * day}) || c.AutomaticNotices.Mode != AllowReplies ||
		len(c.Networks)+len(c.Users)+len(c.Certificates)+len(c.Senders) != 0 {
		t.Errorf("%+v", c)
	}
}
