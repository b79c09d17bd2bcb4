package content_test

import (
	"fmt"

	"postern/upstream/content"
)

// What was signed stands in front of the message as it came, without a copy of either.
func Example() {
	message := content.Content{Prefix: []byte("DKIM-Signature: ...\r\n"), Chunks: [][]byte{[]byte("Subject: Gr\xfc\xdfe\r\n\r\n"), []byte("Hello\r\n")}}
	err := message.Pieces(func(p []byte, _, last bool) error {
		fmt.Println(len(p), last)
		return nil
	})
	inHeader, err2 := message.EightBit(true)
	fmt.Println(message.Total(), inHeader, err, err2)
	// Output:
	// 21 false
	// 18 false
	// 7 true
	// 46 true <nil> <nil>
}
