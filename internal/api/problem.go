package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"postern/internal/access"
)

// Problem is why something cannot be done, as RFC 9457 has it. Its type is about:blank:
// what the status says is all that is common to such problems. Code is one word for
// programs.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"` // of the status
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`

	wait time.Duration // until another try
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

func problem(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// invalid is about a request that cannot be carried out as it stands.
func invalid(format string, args ...any) *Problem {
	return problem(http.StatusBadRequest, "invalid", fmt.Sprintf(format, args...))
}

func missing(format string, args ...any) *Problem {
	return problem(http.StatusNotFound, "not_found", fmt.Sprintf(format, args...))
}

// conflict is about a request that does not fit what is.
func conflict(format string, args ...any) *Problem {
	return problem(http.StatusConflict, "conflict", fmt.Sprintf(format, args...))
}

func forbidden(format string, args ...any) *Problem {
	return problem(http.StatusForbidden, "role", fmt.Sprintf(format, args...))
}

// fault is about trouble of the relay's own, or of what it needs.
func fault(err error) *Problem { return problem(http.StatusServiceUnavailable, "fault", err.Error()) }

func refused(r *access.Refusal) *Problem {
	p := problem(r.Status, r.Code, r.Detail)
	p.wait = r.Wait
	return p
}

// asProblem makes any error one.
func asProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return fault(err)
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="postern"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if p.wait > 0 {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.wait.Seconds()))))
		}
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
