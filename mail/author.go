package mail

// Author is one address of a list in a header, as of the field From.
type Author struct {
	Address
	// Name is the display name, decoded (RFC 2047) and without controls; "" when
	// there is none. It is for judging and logs, never for sending.
	Name string
	// Comment is the text of the comments beside the address and the name of a
	// group before it, decoded likewise: some readers show them as a name.
	Comment string
}
