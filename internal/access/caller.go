package access

import (
	"context"
	"fmt"
)

// Role is what somebody may do. The zero Role may nothing.
type Role string

// Roles. View, Operate and Admin hold one another; Owner stands beside them.
const (
	View    Role = "view"    // read; recipients are masked
	Operate Role = "operate" // release, allow, reset, suppress, and see recipients
	Admin   Role = "admin"   // reload, tokens
	Owner   Role = "owner"   // see and operate what belongs to one client alone
)

// Roles are all of them, in the order of the documentation.
func Roles() []Role { return []Role{View, Operate, Admin, Owner} }

var reach = map[Role]int{View: 1, Operate: 2, Admin: 3}

// Holds reports whether r may do all that least may. Nobody but an Owner holds Owner.
func (r Role) Holds(least Role) bool {
	if r == Owner || least == Owner {
		return r == least
	}
	return reach[r] > 0 && reach[r] >= reach[least] && reach[least] > 0
}

// UnmarshalText takes the four names.
func (r *Role) UnmarshalText(b []byte) error {
	for _, role := range Roles() {
		if string(b) == string(role) {
			*r = role
			return nil
		}
	}
	return fmt.Errorf("role %q is unknown; write view, operate, admin or owner", b)
}

// Door is the way somebody came in.
type Door string

// Doors.
const (
	Socket Door = "socket" // the control socket
	Port   Door = "port"   // a token on the port of [admin]
	Page   Door = "page"   // a browser that has logged in
	Proxy  Door = "proxy"  // a proxy in front has said who it is
	Cert   Door = "cert"   // a client certificate
	Link   Door = "link"   // a release link of an alert
	Inside Door = "inside" // the relay itself, such as the outlier watch
)

// Caller is who asks. Only this package and the doors make one; the zero Caller may
// nothing.
type Caller struct {
	// Name is the actor in the audit: that of the token, or of the user of the
	// operating system.
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Client is the one whose senders an Owner is about; "" for all other roles.
	Client string `json:"client,omitempty"`
	Door   Door   `json:"door"`
	Remote string `json:"remote,omitempty"` // address at the other end; "" on the socket
	// Token tells the token from others that had its name before; it is not a secret.
	Token string `json:"-"`
}

// By names somebody in the audit, in lists and in the log: a user of the operating
// system by his name, others with how they came, so that no token can take such a name.
func (id Caller) By() string {
	switch id.Door {
	case Socket, Inside, Link:
		return id.Name
	case Proxy:
		return "user " + id.Name
	case Cert:
		return "certificate " + id.Name
	}
	if id.Door == Page && id.Token == "" { // logged in by a link that was asked for on the socket
		return id.Name
	}
	return "token " + id.Name
}

// May reports whether somebody may do what needs least.
func (id Caller) May(least Role) bool { return id.Role.Holds(least) }

// Masked reports whether recipients are hidden from somebody.
func (id Caller) Masked() bool { return !id.May(Operate) && id.Role != Owner }

type identityKey struct{}

// With puts an identity into the context of a request.
func With(ctx context.Context, id Caller) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// Of is the caller of a request; the zero Caller where there is none.
func Of(ctx context.Context) Caller {
	id, _ := ctx.Value(identityKey{}).(Caller)
	return id
}
