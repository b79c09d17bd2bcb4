// Package embedded counts limits in this process, and holds them while a shared
// store is away.
//
// Store is a ratelimit.Store in memory. A budget takes about 280 octets with three
// windows, so that a million of them fit into 300 MiB; a decision takes about a
// microsecond. The memory is bounded. When it is full, the budgets of least use
// are forgotten, and never one that has used half of its number: that would give
// a busy sender its number anew. Save and Load keep the counts over a restart, and
// Run saves now and then.
//
// Budgets stand as packed records in memory that the garbage collector does not
// see. Plain structs in maps were tried and would be simpler: a million budgets of
// three windows were 339 MiB of live heap with one charge in each and 385 MiB with
// two, and a decision 1.9 us. But the heap grows to twice what lives before it is
// collected, so that the process took 760 MiB, against 282 MiB here, and each
// collection had six million objects to follow, for more than a second of CPU.
//
// Failover is a ratelimit.Store over two others: a shared one that all nodes use,
// and the Store of this node. While the shared one answers, it decides, and the
// node notes what it said. When it does not answer, this node decides with its
// share of each number (of 600 an hour on three nodes, 200), and from what it
// noted. When it answers again, it is first given all that was charged meanwhile:
// so no outage, and no reply that was lost, lets more pass than the number.
package embedded
