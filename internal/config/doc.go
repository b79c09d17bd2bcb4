// Package config reads the configuration file: defaults, strict keys, checks
// of each table and checks across tables. Every problem is reported at once,
// with file, line and column.
package config
