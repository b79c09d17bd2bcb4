package mail

// Author is one address of an address list in a header, such as that of the field From
// (RFC 5322 s. 3.4).
type Author struct {
	Address
	// Name is the display name, decoded (RFC 2047) and without controls; "" when
	// there is none. An encoded-word that cannot be decoded for certain stands in
	// it as it is.
	Name string
	// Comment is the text of the comments beside the address, as written: some
	// readers show it as a name.
	Comment string
}
