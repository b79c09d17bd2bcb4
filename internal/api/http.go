package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"postern/internal/access"
)

// Root is where the routes are.
const Root = "/api/v1"

// answer writes what an operation returned.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		writeProblem(w, problem(http.StatusInternalServerError, "fault", "the answer cannot be written: "+err.Error()))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}

// Handler serves the routes for requests whose context says who asks; see Behind and
// OnSocket.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range a.routes {
		mux.HandleFunc(r.method+" "+Root+r.path, r.serve)
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(Root+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeProblem(w, problem(http.StatusMethodNotAllowed, "method", fmt.Sprintf("%s is not done here; %s is", r.Method, strings.Join(allowed, " or "))))
		})
	}
	mux.HandleFunc(Root+"/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, missing("there is nothing of that name; see %s/openapi.json", Root))
	})
	return a.careful(mux)
}

// careful sets what each answer needs, and makes a 500 of a panic.
func (a *API) careful(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				a.parts.Log.Error("panic in the API", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeProblem(w, problem(http.StatusInternalServerError, "fault", "the relay has a fault here; its log says more"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// Identify says who sends a request.
type Identify func(*http.Request) (access.Caller, *access.Refusal)

// Behind serves next to those whom identify lets in, and to no page of another site.
func Behind(identify Identify, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := access.SameSite(r); no != nil {
			writeProblem(w, refused(no))
			return
		}
		id, no := identify(r)
		if no != nil {
			w.Header().Set("Cache-Control", "no-store")
			writeProblem(w, refused(no))
			return
		}
		next.ServeHTTP(w, r.WithContext(access.With(r.Context(), id)))
	})
}

// OnSocket identifies who asks on the control socket: the user of the operating system,
// whom by names from a context. All rights are his.
func OnSocket(by func(context.Context) string) Identify {
	return func(r *http.Request) (access.Caller, *access.Refusal) {
		return access.Caller{Name: by(r.Context()), Role: access.Admin, Door: access.Socket}, nil
	}
}
