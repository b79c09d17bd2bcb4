// Package scan asks scanners (spam filters, virus scanners, sandboxes) about
// outbound mail and proves that they looked.
//
// The danger is a quiet yes: with their defaults scanners call clean what they
// did not look at, and a client that reads an answer wrongly passes everything.
// So only the answers that a table names mean clean, all else is a fault; and
// each scanner is sent a canary, at start and from time to time, that it has to
// find. One that does not is down, and its yes does not count.
//
// A Set holds the configured scanners, asks those that a message needs at the
// same time, and says what is to happen to it. How replies are worded is not
// decided here.
package scan
