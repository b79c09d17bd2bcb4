package mail

import "testing"

func TestPartyIsTheSubmitterElseTheUser(t *testing.T) {
	for _, row := range []struct{ user, submitter, party string }{
		{"smarthost", "mta/anna", "submitter:mta/anna"},
		{"smarthost", "", "smarthost"},
		{"", "", ""},
	} {
		party := Party(row.user, row.submitter)
		if party != row.party {
			t.Errorf("%q and %q are %q, want %q", row.user, row.submitter, party, row.party)
		}
		if got, ok := SubmitterOf(party); got != row.submitter && ok || ok != (row.submitter != "") {
			t.Errorf("%q is of submitter %q, %v", party, got, ok)
		}
	}
}

func TestNoUserHasTheNameOfASubmitter(t *testing.T) {
	for name, want := range map[string]bool{
		"submitter:mta/anna": false, "Submitter:mta/anna": false, "ｓubmitter:mta/anna": false, "submitter：mta/anna": false,
		"submitters": true, "submitter": true, "anna@x.example": true, "my-submitter:x": true, "": true,
	} {
		if got := IsUserName(User(name, nil)); got != want {
			t.Errorf("%q may be a user: %v", name, got)
		}
	}
}
