package mx_test

import (
	"context"
	"fmt"

	"postern/mx"
)

// Who takes mail for a domain, and at which addresses, in the order to try them.
func ExampleFinder_Find() {
	var cfg mx.Config
	cfg.SetDefaults()
	f, err := mx.New(mx.Options{Config: cfg})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	answer, err := f.Find(context.Background(), "example.org", mx.Families{IPv4: true, IPv6: true})
	if err != nil {
		fmt.Println("not known now:", err) // a 4xx: DNS gave no answer
		return
	}
	for _, target := range answer.Targets {
		fmt.Println(target)
	}
}
