package sketch_test

import (
	"fmt"

	"postern/outlier/detector/sketch"
)

func Example() {
	seed := sketch.Seed{1, 2} // random in a relay
	known := sketch.New(10_000)
	shop, anna := seed.Hash("shop"), seed.Hash("anna@example.org")
	fmt.Println(known.Has(shop, anna))
	known.Add(shop, anna)
	fmt.Println(known.Has(shop, anna), known.Has(seed.Hash("office"), anna))
	// Output:
	// false
	// true false
}
