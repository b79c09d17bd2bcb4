package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"postern/internal/access"
)

// extra are the statuses of reads beside those that each has.
var extra = map[string][]int{
	"sender": {http.StatusNotFound}, "limits": {http.StatusNotFound}, "limits_explain": {http.StatusNotFound}, "suppressions": {http.StatusConflict},
	"listing": {http.StatusNotFound}, "events": {http.StatusConflict}, "event": {http.StatusNotFound, http.StatusConflict},
}

// statuses are all that a route can answer with, the smallest first.
func (r *route) statuses() []int {
	list := []int{http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable}
	if r.method == http.MethodPost {
		list = append(list, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	list = append(list, extra[r.id]...)
	slices.Sort(list)
	return list
}

// object is one of JSON.
type object = map[string]any

func (a *API) addOpenAPI() {
	a.OpenAPI = query(a, "/openapi.json", "openapi", "This description.", rights{access.View, true}, func(context.Context, None) (map[string]any, error) {
		return a.document(), nil
	})
}

// document describes all routes, in OpenAPI 3.1.
func (a *API) document() object {
	s := schemas{}
	paths := object{}
	for _, r := range a.routes {
		path, ok := paths[r.path].(object)
		if !ok {
			path = object{}
			paths[r.path] = path
		}
		path[strings.ToLower(r.method)] = r.describe(s)
	}
	problem := s.of(reflect.TypeFor[Problem]())
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Postern", "version": "1", "license": object{"name": "see LICENSE"},
			"description": "What an operator asks of a running relay, and has it do. docs/api.md tells it in words."},
		"servers":  []any{object{"url": Root}},
		"security": []any{object{"token": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas":         object(s),
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "From relay token new. The control socket needs none."}},
			"responses": object{"problem": object{"description": "Why not (RFC 9457).",
				"content": object{"application/problem+json": object{"schema": problem}}}},
		},
	}
}

// describe is one operation.
func (r *route) describe(s schemas) object {
	op := object{"operationId": r.id, "summary": r.about, "x-role": string(r.least), "x-owner": r.owned}
	var params []any
	for _, p := range paramsOf(r.in) {
		params = append(params, object{"name": p.name, "in": p.in, "required": p.in == "path", "description": p.about, "schema": s.of(p.typ)})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.method == http.MethodPost {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(r.in)}}}
	}
	responses := object{}
	for _, status := range r.statuses() {
		responses[strconv.Itoa(status)] = object{"$ref": "#/components/responses/problem"}
	}
	responses["200"] = object{"description": "Done.", "content": object{"application/json": object{"schema": s.of(r.out)}}}
	op["responses"] = responses
	return op
}
