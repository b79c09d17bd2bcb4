// Package reputation answers whether our addresses and domains are listed, who
// caused it, and whether DNS says of us what it should. Nothing on the mail
// path waits for it.
package reputation
