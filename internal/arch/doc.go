// Package arch holds no code, only tests: of how the packages may import one
// another, and that docs/replies.md and the table of metrics in
// docs/operations.md list what the code says.
package arch
