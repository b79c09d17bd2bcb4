// Package outlier acts on senders that behave unlike themselves. Package detector
// scores each sender, SASL user and client; here a score becomes a step that ends by
// itself: an alert, a throttle to the usual pace, a suspension. The watch holds what a
// step needs and a score does not: the clock, the lock, who is in which state and until
// when, the recipients that are on their way, the word of an operator who suspends,
// releases and asks why, and the state on disk and in Redis.
package outlier
