// Package relay is the SMTP session: it takes each transaction through its
// stages in order. Policy, limits, signing and forwarding are decided and done
// in their own packages; this one only asks them and answers the client.
package relay
