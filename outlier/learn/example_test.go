package learn_test

import (
	"context"
	"fmt"
	"time"

	"postern/mail"
	"postern/outlier"
	"postern/outlier/learn"
)

// A client has sent through the relay for two months when its operator sets a limit on
// strangers. The watch sees it for the first time today, and the journal knows to whom
// it wrote.
func Example() {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	journal := func(add func(*mail.Event) error) (skipped int, err error) {
		for at := now.AddDate(0, -2, 0); at.Before(now); at = at.AddDate(0, 0, 1) {
			err := add(&mail.Event{Time: at, Client: "shop", From: "news@shop.example", Outcome: mail.Relayed,
				To: []mail.RecipientEvent{{Address: "ben@example.org", Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}})
			if err != nil {
				return 0, err
			}
		}
		return 0, nil
	}

	var cfg outlier.Config
	cfg.SetDefaults()
	watch, err := outlier.New(cfg, outlier.Options{Now: clock})
	if err != nil {
		fmt.Println(err)
		return
	}
	keeper := learn.New(learn.Options{
		Now: clock, Watch: watch, Journal: journal,
		Clients: func() []string { return []string{"shop"} }, Days: 14,
	})

	from := mail.IdentityOf("news@shop.example")
	ask := func(to string) {
		stranger, _ := watch.Stranger("shop", from, mail.RecipientOf(to))
		fmt.Printf("%s is a stranger to shop: %v\n", to, stranger)
	}
	ask("ben@example.org")
	now = now.Add(time.Hour) // the keeper leaves the first minute to the start of the relay
	keeper.Tick(context.Background())
	fmt.Println("shop's mail is known since", watch.Past("shop", "", from).Since.Format(time.DateOnly))
	ask("ben@example.org")
	ask("carl@example.org")
	// Output:
	// ben@example.org is a stranger to shop: true
	// shop's mail is known since 2026-03-04
	// ben@example.org is a stranger to shop: false
	// carl@example.org is a stranger to shop: true
}
