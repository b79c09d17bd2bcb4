// Package mx says who takes mail for a domain.
//
// RFC 5321 s. 5.1 has the rules: the MX records of the domain name hosts, the
// lowest preference is tried first, hosts of one preference in random order, and
// only where there is no MX record at all the domain itself is the host. A single
// MX record that names the root says that the domain takes no mail (RFC 7505).
// Where one of the hosts is ourselves, it and all that are no better are left out,
// or mail would go round in a loop.
//
// Who owns a domain writes its records, so that nothing in them is trusted: names
// that are not host names are left out, of many hosts only some are looked at, and
// each address is judged before it is dialled. Mail never goes to an address
// inside of this network because a stranger's DNS says so.
//
// What DNS does not say is a fault, and mail waits for it: a resolver that is away
// never makes a domain one that does not exist.
package mx
