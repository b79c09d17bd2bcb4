package reputation_test

import (
	"fmt"
	"time"

	"postern/mail"
	"postern/reputation"
)

// A receiver asks one sender to slow down: that sender waits, others go on.
func ExampleBackoff() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := reputation.NewBackoff(func() time.Time { return now })
	news := reputation.Mail{Stream: "marketing", Client: "shop", Sender: mail.Identity("news@example.org"), Domain: "example.net"}
	b.Refused(news, 0, "421 4.7.0 too much mail from you")
	left, _ := b.Left(news)
	fmt.Println("news waits:", left > 0)
	other := news
	other.Sender = "orders@example.org"
	left, _ = b.Left(other)
	fmt.Println("orders waits:", left > 0)
	// Output:
	// news waits: true
	// orders waits: false
}
