package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier"
)

// TestUnnamedMailHindersNoUser: what was found in a sender's mail without a user is told of
// the sender, and not as what keeps the mail of a user with that name.
func TestUnnamedMailHindersNoUser(t *testing.T) {
	a := startAPI(t, "[outlier]\nmode = \"enforce\"\n")
	const sender = "both@shop.example"
	for i := range 60 {
		a.watch.Observe(&mail.Event{Time: time.Now(), Client: "office", From: sender, Stage: mail.StageRcpt, Outcome: mail.Rejected, To: []mail.RecipientEvent{
			{Address: fmt.Sprintf("nobody%d@dest.example", i), Outcome: mail.Rejected, Rule: "upstream", Code: 550, Status: "5.1.1", Class: mail.ClassNoSuchUser},
		}})
	}
	held := func(list []string) bool { return strings.Contains(strings.Join(list, "\n"), "suspended") }
	for user, want := range map[string]bool{"": true, "pia": false} {
		list, err := a.wouldGetNow(t.Context(), &mail.Event{Client: "shop", User: user, From: sender})
		if err != nil || held(list) != want {
			t.Errorf("user %q: %v, %v", user, list, err)
		}
	}
	var told []string
	for _, h := range a.hindrances(t.Context(), outlier.UserSender, "pia "+sender) {
		told = append(told, h.What)
	}
	if held(told) {
		t.Errorf("of the user: %v", told)
	}
}
