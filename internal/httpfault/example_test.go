package httpfault_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"postern/internal/httpfault"
)

func ExamplePlain() {
	const hook = "https://chat.example/T0KEN"
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	fmt.Println(httpfault.Plain(&url.Error{Op: "Post", URL: hook, Err: refused}))
	fmt.Println(httpfault.Plain(&url.Error{Op: "Post", URL: hook, Err: errors.New(`malformed HTTP status code "/T0KEN"`)}))
	// Output:
	// dial tcp: connection refused
	// what was answered is not HTTP that can be read
}
