package arithmetic_test

import (
	"fmt"

	"postern/outlier/detector/arithmetic"
)

func Example() {
	s := arithmetic.Score{
		Value: 1.5, Sensitivity: 1, Ease: 1,
		Parts: []arithmetic.Part{
			{Kind: "sent"},
			{Kind: "new", Window: "1h", Now: 40, Usual: 10, Record: 10, Width: 10, Slope: 1, Most: 3, Value: 1.5},
		},
	}
	fmt.Print(&s)
	// Output:
	// score 1.50 = (sent 0.00 + new 1.50) x sensitivity 1; an alarm from 1 on
	// sent     within what is usual in every window
	// new      40.0 in 1h, usual 10.0 (record 10.0): (40.0 - 10.0) / (10.0 + 1.00 x 10.0) = 1.50
}
