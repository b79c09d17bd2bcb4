// Package simulate says what other limits would have said about past mail: it
// replays a journal on a simulated clock through the limiter that the relay
// itself uses.
package simulate
