// Package store keeps what a watch knows: counts and states.
//
// A suspension that a restart forgets is a gift to whoever was suspended, and a node
// that counts by itself lets an attacker out once through each node. So everything is
// written down twice. [Disk] keeps it in a folder. A state is a line of JSON that is
// written before it takes effect, for a killed process must not forget it; counts may lose
// the last second, and are a snapshot with the log of the events that came after it. What
// is damaged is set aside and never deleted, and a full disk costs nothing for longer than
// it is full.
//
// [Link] makes several nodes one. Every event is a note in a stream in Redis which all
// nodes read, so that each of them has all counts in memory and judges without asking
// anybody. States travel on the same stream and stand in a hash besides; a node that joins
// reads them, and the meters that the others have stored. While Redis is away each node
// watches by itself, and what it has seen goes out afterwards.
//
// What a state does to mail, and which step a score leads to, is the matter of package
// outlier: a store only knows which of two states holds (see [State.Over]), so that the
// order in which they become known does not matter.
package store
