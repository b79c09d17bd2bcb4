package strangers_test

import (
	"fmt"
	"maps"
	"slices"

	"postern/ratelimit"
	"postern/ratelimit/strangers"
)

// A table with numbers for both makes two limits: one on all recipients, and one that
// leaves out those whom the client has written to before.
func Example() {
	var t ratelimit.RuleConfig
	t.SetDefaults()
	t.Per = ratelimit.Per{ratelimit.PerSender}
	number := func(text string) (n ratelimit.Number) {
		if err := n.UnmarshalText([]byte(text)); err != nil {
			fmt.Println(err)
		}
		return n
	}
	t.Recipients, t.Strangers = ratelimit.Numbers{number("500/1h")}, ratelimit.Numbers{number("20/1h")}
	limits := strangers.Expand(map[string]ratelimit.RuleConfig{"people": t})
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		fmt.Println(name, limits[name].Recipients)
	}
	// Output:
	// people [500/1h]
	// people.strangers [20/1h]
}
