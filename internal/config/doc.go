// Package config reads the configuration file: defaults, strict keys, checks
// of each table and checks across tables. Every problem is reported at once,
// with file, line and column.
//
// A relay that starts with half of what its operator meant is worse than one that
// does not start. So a key that nobody knows is an error and not ignored, a value
// that is out of bounds is not cut to fit, and a reload with a problem changes
// nothing. Each package has its own Config with its own checks; here stand the file
// as a whole and what its tables mean together.
package config
