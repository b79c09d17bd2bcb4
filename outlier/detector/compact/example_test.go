package compact_test

import (
	"fmt"

	"postern/outlier/detector/compact"
)

func Example() {
	var w compact.Writer
	w.Str("shop")
	w.U16(compact.Packed(123_456))
	r := compact.Reader{Rest: w}
	name, n := r.Str(), compact.Unpacked(r.U16())
	fmt.Println(len(w), name, n, r.Err())
	r.U8()
	fmt.Println(r.Err())
	// Output:
	// 7 shop 123456 <nil>
	// data is cut off or damaged
}
