// Package warmup lets the mail of a new source address grow slowly.
//
// A receiver trusts an address by what it has had from it, and takes much mail from one
// that it does not know for spam. So each source address has a budget with each group of
// receivers (package mx/provider): a number of messages in any 24 hours, by a schedule
// whose steps grow. What does not fit is told to come later.
//
// A step follows the one before after 24 hours at the earliest, and only when at least
// half of the budget went out within the last 24 hours: an address that sends nothing
// does not get warmer. While more than 5 % of the messages are deferred or more than 2 %
// refused, the budget stays as it is. A receiver that says that the address is listed
// takes it two steps back, at most once in 24 hours. Behind the last step the address is
// warm; when it has sent nothing to a group for 30 days it is cold again.
//
// Counts and steps are kept in the store of limits, whose windows are hard caps over all
// nodes. A step that no store has and no running node remembers is the first one; what the
// store has lost, a node that remembers it writes there again.
package warmup
