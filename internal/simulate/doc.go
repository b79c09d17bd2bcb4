// Package simulate says what other limits would have said about past mail.
//
// Whoever sets a limit wants to know first whom it would have stopped. The journal
// has every transaction with its time, so it can be replayed: on a simulated clock,
// through the limiter that the relay itself uses. A Replay counts what would have
// been refused, and of what was refused at the time what would pass now. A Demand
// asks the reverse: which limits the same mail would have stayed within.
//
// One thing cannot be known: when a client that is refused would have come again. So
// a refusal counts, and later attempts do not: in truth most of such mail would be
// late and not lost. docs/tuning.md lists what else a simulation does not know.
package simulate
