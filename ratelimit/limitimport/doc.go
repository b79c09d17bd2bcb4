// Package limitimport turns the rate limits of another program into tables
// [limit.NAME] of this one: policyd-rate-limit for Postfix, iRedAPD and rspamd.
// Each counts in its own way (fixed windows, buckets that leak, per login or per
// sender), so a table that is written says in a comment where its meaning is not
// quite that of the original, and in which way.
package limitimport
