package console

import "fmt"

// Role is what somebody may do; a higher one may also do what lower ones may. The zero
// value may do nothing.
type Role int

// Roles.
const (
	View    Role = iota + 1 // read, with recipients masked
	Operate                 // release, suspend, resume, allow
	Admin                   // everything
)

func (r Role) String() string {
	switch r {
	case View:
		return "view"
	case Operate:
		return "operate"
	case Admin:
		return "admin"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

// Identity is who asks.
type Identity struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Client bounds what is seen and done to the mail of one client; "": all mail.
	Client string `json:"client,omitempty"`
	// Token is what the login was by, for Options.Holds; "": a one-time link.
	Token string `json:"token,omitempty"`
}

// mayAct reports whether i may change anything.
func (i *Identity) mayAct() bool { return i.Role >= Operate }

// masks reports whether recipients are masked for i.
func (i *Identity) masks() bool { return i.Role < Operate }

// sees reports whether i may know of mail of a client.
func (i *Identity) sees(client string) bool { return i.Client == "" || i.Client == client }
