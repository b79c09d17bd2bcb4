package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"postern/internal/access"
	"postern/internal/audit"
	"postern/mail"
)

// Act is what each request that changes something has.
type Act struct {
	// Reason stands in the audit.
	Reason string `json:"reason" doc:"Why; 1 to 500 characters. It stands in the audit."`
	DryRun bool   `json:"dry_run,omitempty" query:"dry_run" doc:"true: say what would be done, and do nothing."`
}

func (a *Act) act() *Act { return a }

// order is a request that changes something.
type order[T any] interface {
	*T
	act() *Act
}

// Done is the answer to one.
type Done[T any] struct {
	// Audit is the id of its lines in the audit; missing: nothing was done.
	Audit  string `json:"audit,omitempty"`
	DryRun bool   `json:"dry_run"`
	// Result is what was done, or would be.
	Result T `json:"result"`
}

// effect is a request that has been looked at, and can be carried out.
type effect[Out any] struct {
	target string
	undoes string // id of the act that it takes back; "": none
	before any    // state of the target
	would  Out    // what a dry run answers
	// look finds that out, where it costs something; nil: would is it.
	look func() Out
	run  func(context.Context) (Out, error)
	// told is what of the result stands in the audit; nil: all of it.
	told func(Out) any
}

const (
	maxReason = 500 // characters
	maxBody   = 64 << 10
	// actTime bounds an act. It does not end with the request: who asked may have gone.
	actTime = 30 * time.Second
)

// act adds an operation that changes something. plan looks at a request and changes
// nothing. always says that the act is done also where its line in the audit cannot be
// written: it makes the relay stricter.
func act[In any, P order[In], Out any](a *API, path, id, about string, who rights, always bool, plan func(context.Context, P) (effect[Out], error)) Call[In, Done[Out]] {
	call := func(ctx context.Context, in In) (done Done[Out], err error) {
		caller := access.Of(ctx)
		if no := caller.Allow(who.least, who.owned); no != nil {
			return done, refused(no)
		}
		how := P(&in).act()
		if err := checkReason(how.Reason); err != nil {
			return done, err
		}
		e, err := plan(ctx, &in)
		if err != nil {
			return done, asProblem(err)
		}
		if how.DryRun {
			if e.look != nil {
				e.would = e.look()
			}
			return Done[Out]{DryRun: true, Result: e.would}, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
		defer cancel()
		done.Audit, done.Result, err = carryOut(ctx, a, caller, id, how.Reason, always, &e)
		if err != nil {
			return done, asProblem(err)
		}
		return done, nil
	}
	a.routes = append(a.routes, &route{method: http.MethodPost, path: path, id: id, about: about, least: who.least, owned: who.owned,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Done[Out]](), serve: func(w http.ResponseWriter, r *http.Request) {
			var in In
			if err := readBody(w, r, &in); err != nil {
				writeProblem(w, asProblem(err))
				return
			}
			out, err := call(r.Context(), in)
			answer(w, out, err)
		}})
	return call
}

// carryOut does what was planned, between two lines of the audit.
func carryOut[Out any](ctx context.Context, a *API, by access.Caller, verb, reason string, always bool, e *effect[Out]) (id string, out Out, err error) {
	entry := audit.Entry{ID: mail.NewID(a.parts.Now()), Actor: by.By(), Role: string(by.Role), Door: string(by.Door), Remote: by.Remote,
		Verb: verb, Target: e.target, Reason: reason, Undoes: e.undoes, Before: audit.State(e.before), Result: audit.Begun}
	if err := a.parts.Audit.Write(entry, always); err != nil && !always {
		p := problem(http.StatusServiceUnavailable, "audit", "the audit cannot be written, and nothing was done: "+err.Error())
		p.wait = time.Minute
		return "", out, p
	}
	out, err = e.run(ctx)
	a.forget()
	entry.Before, entry.Result = nil, audit.Done
	level, attrs := slog.LevelInfo, []any{"act", verb, "by", by.By(), "what", e.target, "reason", reason, "audit", entry.ID}
	if e.undoes != "" {
		attrs = append(attrs, "undoes", e.undoes)
	}
	if err != nil {
		entry.Result = err.Error()
		level, attrs = slog.LevelWarn, append(attrs, "err", err)
	} else if e.told != nil {
		entry.After = audit.State(e.told(out))
	} else {
		entry.After = audit.State(out)
	}
	a.parts.Audit.Note(entry)
	a.parts.Log.Log(ctx, level, "operator", attrs...)
	return entry.ID, out, err
}

func checkReason(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return invalid("a reason is needed: say why, for those who read the audit")
	case !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > maxReason:
		return invalid("reason: is longer than %d characters, or not UTF-8", maxReason)
	case strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }):
		return invalid("reason: has a control character; write it on one line")
	}
	return nil
}

// readBody fills in from a JSON body, and from path and query.
func readBody(w http.ResponseWriter, r *http.Request, in any) error {
	if no := access.JSONBody(r); no != nil {
		return refused(no)
	}
	if err := readQuery(r, in); err != nil {
		return err
	}
	dry := reflect.ValueOf(in).Elem().FieldByName("DryRun")
	asked := dry.Bool() // behind the question mark; the body cannot take it back
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return problem(http.StatusRequestEntityTooLarge, "too_large", "the body is longer than 64 KiB")
		}
		return invalid("the body cannot be read: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("the body has something behind the request")
	}
	dry.SetBool(dry.Bool() || asked)
	return nil
}
