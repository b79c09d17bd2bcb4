// Package halves remembers who has a message that others do not have yet.
//
// A message for recipients of two domains can be taken by one and deferred by the
// other, and SMTP has one reply for both. 250 would lose it for one of them, and 4yz
// has the client send it again to both. So the relay writes down who has taken it
// before it answers 451, and leaves those out when the client comes again: this
// is that memory. It also knows who refused a message for good beside others who
// took it: they get a transaction of their own, and so a reply of their own.
//
// What is kept of a recipient is a keyed hash over client, reverse-path and address,
// and one over the whole content, so that nothing can be read from it, no client
// meets what another one has sent, and another message is another message. It lies
// in a file of slots that is synced before the client hears anything, and in Redis
// where that is set, so that other nodes know, too.
//
// Before a message leaves for several domains Begin makes room for what may have to be
// written, so that a full disk, a full memory or a Redis that is away is found out
// while nothing has been sent. What is left are windows in which a second copy can
// be made; each is counted, see [Counts].
package halves
