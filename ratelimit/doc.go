// Package ratelimit says how much mail may be sent: whether a recipient, a
// message or its octets still have room under the limits of the configuration.
//
// A limit is a number over a rolling window, such as 500 messages in any hour,
// counted per key: per sender, per client, per client and recipient domain, and
// so on. It is a hard cap. At no instant have the charges of the last hour
// together more than 500, whatever the number of sessions and nodes that charge at
// the same time. A bucket that refills (as in golang.org/x/time/rate) could not
// promise that: it lets nearly twice its number pass in one window.
//
// The words, with mail from news@example.org to three recipients under the limits
// "sender" (2 messages in an hour per sender) and "client" (1000 recipients in a
// day per client):
//
//   - a rule is one limit of the configuration, compiled by Compile;
//   - a budget is what one rule allows one key ("sender" for
//     sender=news@example.org): the unit in which a store counts;
//   - an Account is one mail transaction. It asks for each recipient with
//     Recipients, which charges all budgets that count the recipient or none: here
//     1 recipient to "client" three times, and 1 message to "sender" once. It gives
//     back with Refund what the next hop deferred;
//   - a Store counts. There are two, in packages of their own: embedded (in this
//     process, with a file that outlives it) and redisstore (in Redis, for all
//     nodes together); storetest holds each to what Store promises.
//
// Begin with Limiter. The tools of operators (Show, Explain, Allow, Reset) are
// methods of it, too. The package knows nothing of SMTP.
package ratelimit
