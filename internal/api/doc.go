// Package api is what an operator can ask of a running relay, and have it do: one list
// of operations behind the control socket, the port of [admin], the console and the
// command line.
//
// Each operation is a Call: a function of a context and a request. The context says who
// asks (access.With), and each Call looks whether he may, wherever it is called from;
// over HTTP it is one route below /api/v1. Errors are Problems (RFC 9457).
package api
