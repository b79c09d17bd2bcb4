package limitimport_test

import (
	"fmt"
	"os"
	"strings"

	"postern/ratelimit/limitimport"
)

func ExampleImport() {
	const theirs = "limits:\n- [30, 60]\n- [500, 3600]\nlimit_by_sasl: True\n"
	if err := limitimport.Import("postfix-policyd-rate-limit", strings.NewReader(theirs), os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// # From postfix policyd-rate-limit. It counted every recipient as a mail, and so do these limits:
	// # unit recipients.
	// # What the upstream defers (4xx) is given back here; there it stayed counted.
	// # When its database was away mail passed (db_error_action); here on_store_failure says what holds.
	//
	// # Per SASL user. This does not count mail without one; take absent out to count it per client.
	// [limit.user]
	// per = "user"
	// absent = "skip"
	// recipients = ["30/1m", "500/1h"]
}
