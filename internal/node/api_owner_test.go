package node

import (
	"net/http"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/outlier"
)

// TestOwnerHasTheSubmittersOfHisClient, sees them and lets them go, and no others.
func TestOwnerHasTheSubmittersOfHisClient(t *testing.T) {
	a := startAPI(t, "")
	for _, name := range []string{"shop/anna", "office/bob"} {
		if _, err := a.watch.Suspend(outlier.Order{Scope: outlier.Mailbox, Name: name, Reason: "x", By: "token my-owner"}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, text := a.port.ask(t, "GET", "/api/v1/suspensions", a.tokens[access.Owner], "")
	if !strings.Contains(text, "shop/anna") || strings.Contains(text, "office/bob") {
		t.Errorf("suspended: %s", text)
	}
	for path, want := range map[string]int{"/senders/submitter:shop%2fanna": http.StatusOK, "/senders/submitter:office%2fbob": http.StatusForbidden} {
		if status, _, text := a.port.ask(t, "GET", "/api/v1"+path, a.tokens[access.Owner], ""); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	a.post(t, http.StatusForbidden, access.Owner, "/suspensions/release", `{"reason":"x","name":"submitter:office/bob"}`)
	a.post(t, http.StatusOK, access.Owner, "/suspensions/release", `{"reason":"x","name":"submitter:shop/anna"}`)
	owner := access.Caller{Role: access.Owner, Client: "shop"}
	for key, want := range map[string]bool{"submitter=shop/anna": true, "submitter=office/bob": false, "client=office": false, "client=shop": true} {
		if got := a.api.MayReadKey(owner, key); got != want {
			t.Errorf("budget %s: %v", key, got)
		}
	}
}

// TestOwnerIsNotToldWhenOthersMailWent: the time of the last mail that an upstream took is
// that of all clients.
func TestOwnerIsNotToldWhenOthersMailWent(t *testing.T) {
	a := startAPI(t, "")
	for role, want := range map[access.Role]bool{access.View: true, access.Owner: false} {
		if _, text, _ := a.login(t, role).get(t, "/part/now"); strings.Contains(text, "Last taken by an upstream") != want {
			t.Errorf("%s: %s", role, text)
		}
	}
}
