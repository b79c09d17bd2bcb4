package access

import (
	"net/http"
	"time"
)

// Refusal is why somebody is not let in. It is an error; its text may be shown to
// whoever asked.
type Refusal struct {
	Status int    // of HTTP
	Code   string // one word for programs
	Detail string
	Wait   time.Duration // until another try; 0: no time is named
}

// Error is the text.
func (r *Refusal) Error() string { return r.Detail }

func refuse(status int, code, detail string) *Refusal {
	return &Refusal{Status: status, Code: code, Detail: detail}
}

// Allow says why somebody may not do what needs least, or, where owned is set, what an
// owner may do for his client; nil: he may.
func (id Caller) Allow(least Role, owned bool) *Refusal {
	switch {
	case id.Role == "":
		return refuse(http.StatusUnauthorized, "token", "a token is needed: Authorization: Bearer pst_...")
	case id.May(least), owned && id.Role == Owner && id.Client != "":
		return nil
	case id.Role == Owner:
		return refuse(http.StatusForbidden, "role", "an owner sees and operates what belongs to its client alone; this takes role "+string(least))
	}
	return refuse(http.StatusForbidden, "role", "this takes role "+string(least)+"; yours is "+string(id.Role))
}
