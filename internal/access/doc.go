// Package access says who asks a running relay for something, and what he may: it
// knows tokens and their roles, keeps out what pages of other sites make a browser send,
// and bounds how often somebody may guess.
//
// There are two doors. Behind the control socket stands the user of the operating
// system, with all rights, for only the relay's own user and root can open it. On the
// port of [admin] everybody needs a token, also on a loopback address: a proxy on this
// machine makes everybody local.
package access
