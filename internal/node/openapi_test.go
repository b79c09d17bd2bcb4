package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/access"
	"postern/internal/alert"
	"postern/mail"
	"postern/outlier"
)

// document is the description that a node serves.
type document struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	ID         string `json:"operationId"`
	Summary    string
	Role       access.Role `json:"x-role"`
	Owner      bool        `json:"x-owner"`
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Format               string
	Description          string
	Enum                 []any
	Items                *schema
	Properties           map[string]schema
	Required             []string
	AdditionalProperties *schema
	AnyOf, AllOf         []schema
}

func (a *apiNode) document(t *testing.T) (d document, text string) {
	t.Helper()
	status, _, text := a.port.ask(t, "GET", "/api/v1/openapi.json", a.tokens[access.View], "")
	if status != 200 || json.Unmarshal([]byte(text), &d) != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("%d %s", status, text)
	}
	return d, text
}

// TestOpenAPIHasEachRoute and no other, with its role.
func TestOpenAPIHasEachRoute(t *testing.T) {
	a := startAPI(t, "")
	d, _ := a.document(t)
	routes := map[string]bool{}
	for _, r := range a.api.Routes() {
		path := strings.TrimPrefix(r.Path, "/api/v1")
		routes[r.Method+" "+path] = true
		op, ok := d.Paths[path][strings.ToLower(r.Method)]
		if !ok || op.ID != r.ID || op.Role != r.Least || op.Owner != r.Owned || op.Summary == "" {
			t.Errorf("%s %s: %+v", r.Method, r.Path, op)
		}
	}
	docs, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			if !routes[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is described and not there", method, path)
			}
			if !strings.Contains(string(docs), path+"`") {
				t.Errorf("docs/api.md has no %s", path)
			}
			for _, p := range op.Parameters {
				if p.Description == "" || p.Required != strings.Contains(path, "{"+p.Name+"}") || p.Required != (p.In == "path") {
					t.Errorf("%s %s: parameter %+v", method, path, p)
				}
			}
		}
	}
	for name, s := range d.Components.Schemas {
		d.checkRefs(t, name, s)
	}
}

// checkRefs follows what a schema names.
func (d *document) checkRefs(t *testing.T, where string, s schema) {
	t.Helper()
	if s.Ref != "" {
		if _, ok := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]; !ok {
			t.Errorf("%s names %s, which is not there", where, s.Ref)
		}
	}
	for name, p := range s.Properties {
		d.checkRefs(t, where+"."+name, p)
	}
	for _, p := range slices.Concat(s.AnyOf, s.AllOf) {
		d.checkRefs(t, where, p)
	}
	if s.Items != nil {
		d.checkRefs(t, where+"[]", *s.Items)
	}
}

// values are such as each parameter takes.
var values = map[string]string{"limit": "5", "since": "2026-11-30T12:00:00Z", "until": "2036-11-30T12:00:00Z", "state": "suspend", "sort": "score", "scope": "sender", "others": "5", "open": "true",
	"dry_run": "true", "code": "550", "to": "alice@example.net", "from": "news@shop.example", "client": "shop", "recipient": "alice@example.net", "name": "sender"}

// TestOpenAPIParametersAreTaken: what is described is taken, and nothing else is.
func TestOpenAPIParametersAreTaken(t *testing.T) {
	a := startAPI(t, "")
	d, _ := a.document(t)
	for path, methods := range d.Paths {
		for method, op := range methods {
			at, body := "/api/v1"+strings.NewReplacer("{name}", "sender", "{id}", "1").Replace(path), ""
			if method == "post" {
				body = `{"reason":"x","dry_run":true}`
			}
			for _, p := range op.Parameters {
				if p.In != "query" || p.Name == "cursor" {
					continue
				}
				value := values[p.Name]
				if value == "" {
					value = "x"
				}
				_, _, text := a.socket.ask(t, strings.ToUpper(method), at+"?"+url.Values{p.Name: {value}}.Encode(), "", body)
				if strings.Contains(text, "no parameter") || strings.Contains(text, p.Name+": ") {
					t.Errorf("%s %s: %s=%s: %s", method, path, p.Name, value, text)
				}
			}
			if status, _, text := a.socket.ask(t, strings.ToUpper(method), at+"?colour=blue", "", body); status != 400 || !strings.Contains(text, `no parameter \"colour\"`) {
				t.Errorf("%s %s takes what is not described: %d %s", method, path, status, text)
			}
			if method != "post" {
				continue
			}
			s := d.resolve(op.RequestBody.Content["application/json"].Schema)
			for name := range s.Properties {
				_, _, text := a.socket.ask(t, "POST", at, "", fmt.Sprintf(`{%q:null,"dry_run":true}`, name))
				if strings.Contains(text, "unknown field") {
					t.Errorf("%s: %s: %s", path, name, text)
				}
			}
			if status, _, text := a.socket.ask(t, "POST", at, "", `{"colour":1}`); status != 400 || !strings.Contains(text, "unknown field") {
				t.Errorf("%s takes what is not described: %d %s", path, status, text)
			}
		}
	}
}

// TestOpenAPIAnswersAreAsDescribed: each answer of each role has a status that is there,
// and what is in it fits the schema: nothing is missing, and nothing is there besides.
func TestOpenAPIAnswersAreAsDescribed(t *testing.T) {
	a := startAPI(t, "")
	a.write(t, event(1, "shop"), event(2, ""))
	fill(a)
	d, _ := a.document(t)
	bodies := map[string]string{
		"suspend": `"name":"news@shop.example","for":"2h"`, "extend": `"name":"news@shop.example"`, "release": `"name":"news@shop.example"`,
		"allow": `"sender":"news@shop.example","unit":"messages","add":5,"until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`, "reset": `"sender":"news@shop.example"`,
		"suppress": `"stream":"main","recipient":"b@dest.example"`, "unsuppress": `"stream":"main","recipient":"b@dest.example"`, "backoff_end": `"stream":"main"`,
		"token_new": `"name":"fresh","role":"view"`, "alert_test": `"channel":"none"`,
	}
	ok := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(bodies)) {
		if id == "release" || id == "unsuppress" || id == "extend" {
			continue
		}
		a.tryAll(t, &d, id, bodies[id], ok)
	}
	for _, methods := range d.Paths {
		for _, op := range methods {
			a.receivers.backoff.Pause("main", time.Now().Add(time.Hour))
			a.receivers.suppressions.Add("main", "b@dest.example", "x", time.Hour)
			if _, err := a.watch.Suspend(outlier.Order{Scope: outlier.Sender, Name: "news@shop.example", Reason: "x", By: "token my-owner"}); err != nil {
				t.Fatal(err)
			}
			a.tryAll(t, &d, op.ID, bodies[op.ID], ok)
		}
	}
	for _, scope := range []string{outlier.Sender, outlier.UserSender, outlier.User, outlier.Mailbox, outlier.Client} {
		if status, _, answer := a.socket.ask(t, "GET", "/api/v1/senders?scope="+url.QueryEscape(scope), "", ""); status != http.StatusOK {
			t.Errorf("senders of scope %s: %d %s", scope, status, answer)
		}
	}
	for _, methods := range d.Paths {
		for _, op := range methods {
			if !ok[op.ID] && op.ID != "listing" && op.ID != "alert_test" && op.ID != "token_revoke" {
				t.Errorf("%s was never answered with 200", op.ID)
			}
		}
	}
}

// tryAll asks one operation in all roles.
func (a *apiNode) tryAll(t *testing.T, d *document, id, body string, ok map[string]bool) {
	t.Helper()
	for path, methods := range d.Paths {
		for method, op := range methods {
			if op.ID != id {
				continue
			}
			at := "/api/v1" + strings.NewReplacer("{name}/resume", "main/resume", "limits/{name}", "limits/sender", "{name}", "news@shop.example", "{id}", "id000001").Replace(path)
			if id == "limits_explain" {
				at += "?client=shop&from=news@shop.example&to=a@example.net"
			}
			if id == "undo" {
				at = "/api/v1/audit/" + a.post(t, http.StatusOK, "", "/suspensions", `{"reason":"x","name":"x@office.example"}`).Audit + "/undo"
			}
			text := ""
			if method == "post" {
				text = strings.TrimSuffix(`{"reason":"x",`+body, ",") + "}"
			}
			for _, role := range append(access.Roles(), "") {
				door := a.port
				if role == "" {
					door = a.socket
				}
				status, _, answer := door.ask(t, strings.ToUpper(method), at, a.tokens[role], text)
				response, described := op.Responses[strconv.Itoa(status)]
				if !described {
					t.Errorf("%s as %q: %d is not described: %s", id, role, status, answer)
				}
				if status != http.StatusOK {
					continue
				}
				ok[id] = true
				var v any
				if err := json.Unmarshal([]byte(answer), &v); err != nil {
					t.Fatal(err)
				}
				if problem := d.fits(id, response.Content["application/json"].Schema, v); problem != "" {
					t.Errorf("as %q: %s\n%.300s", role, problem, answer)
				}
				if strings.Contains(answer, "0001-01-01T00:00:00Z") {
					t.Errorf("%s as %q tells a time that there is not: %s", id, role, answer)
				}
			}
		}
	}
}

func (d *document) resolve(s schema) schema {
	for s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

// fits says why a value is not as its schema has it; "" where it is.
func (d *document) fits(where string, s schema, v any) string {
	s = d.resolve(s)
	for _, all := range s.AllOf {
		if problem := d.fits(where, all, v); problem != "" {
			return problem
		}
	}
	if len(s.AnyOf) > 0 {
		problems := ""
		for _, any := range s.AnyOf {
			problem := d.fits(where, any, v)
			if problem == "" {
				return ""
			}
			problems += problem + "; "
		}
		return problems
	}
	if s.Type != nil && !hasType(s.Type, v) {
		return fmt.Sprintf("%s: %v is no %v", where, v, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Sprintf("%s: %v is none of %v", where, v, s.Enum)
	}
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); s.Format == "date-time" && err != nil {
			return where + ": " + err.Error()
		}
	case []any:
		for i := range v {
			if s.Items == nil {
				break // anything
			}
			if problem := d.fits(fmt.Sprintf("%s[%d]", where, i), *s.Items, v[i]); problem != "" {
				return problem
			}
		}
	case map[string]any:
		return d.fitsObject(where, s, v)
	}
	return ""
}

func (d *document) fitsObject(where string, s schema, v map[string]any) string {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return where + ": " + name + " is missing"
		}
	}
	for name, one := range v {
		of, ok := s.Properties[name]
		if !ok && s.AdditionalProperties != nil {
			of, ok = *s.AdditionalProperties, true
		}
		if !ok && s.Type != nil {
			return where + ": " + name + " is not described"
		}
		if problem := d.fits(where+"."+name, of, one); problem != "" {
			return problem
		}
	}
	return ""
}

func hasType(types, v any) bool {
	all, ok := types.([]any)
	if !ok {
		all = []any{types}
	}
	is := "null"
	switch v := v.(type) {
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	case float64:
		is = "number"
		if v == float64(int64(v)) && slices.Contains(all, any("integer")) {
			is = "integer"
		}
	}
	return slices.Contains(all, any(is))
}

// fill has the node know something of most kinds.
func fill(a *apiNode) {
	for i := range 20 {
		e := event(i, "shop")
		e.Time, e.User, e.Outcome = time.Now(), "pia", mail.Relayed
		e.To[0].Outcome, e.To[0].Code, e.To[0].Rule = mail.Relayed, 250, "upstream"
		a.watch.Observe(&e)
	}
	a.alerts.board.Open(alert.Alert{Kind: alert.Suspended, Condition: "suspended sender news@shop.example", Since: time.Now()}, time.Now())
}
