// Package console is the page on which people see a running relay and put right what
// needs them: what became of mail against what is usual, who is suspended, what is
// listed or down, which limits are nearly used up, how upstreams answer, and what became
// of one message. It is HTML made here, which reads and works without a script; a script
// only refreshes its parts. It asks for everything by functions that the node gives it,
// and never edits the configuration.
//
// All that senders, receivers and clients have written is hostile: it is cleaned of
// controls and of marks that turn text round (see clean), shortened, and escaped by
// html/template. What a request may do is decided by its session (see sessions), and what
// changes something besides by a token that only our own pages have.
package console
