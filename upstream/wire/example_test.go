package wire_test

import (
	"fmt"
	"strings"

	"postern/upstream/wire"
)

// A reply of several lines is one reply, whose text has them all.
func ExampleReader_Reply() {
	r := wire.NewReader(strings.NewReader("250-mx1.example.org\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250 STARTTLS\r\n"))
	reply, err := r.Reply()
	if err != nil {
		fmt.Println(err)
		return
	}
	offers := wire.ParseOffers(reply.Text)
	fmt.Println(reply.Code, offers.Pipelining, offers.StartTLS, offers.UTF8, offers.Size)
	// Output:
	// 250 true true false 10485760
}
