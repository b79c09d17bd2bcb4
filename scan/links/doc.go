// Package links holds the hosts that a message links to against lists of bad ones:
// domain lists that are asked by DNS, as in package dnsbl, and files of hosts.
//
// A Finder takes the text of a message, part by part, and finds hosts in it as a
// mail program would make links of them: in the attributes of HTML, in its text and
// in plain text, with entities, percent signs, user information and other alphabets
// undone. Hosts of our own domains and those to be left out are dropped. Files are
// looked up for each host. Of the others at most 20 are asked about by DNS, for
// questions cost time and tell the list what is sent; which 20, nobody can foresee.
//
// What is not known is never a listing, and never called clean: a list that does
// not answer in time, refuses to answer, or does not know its own test entries is a
// fault, which stands in the result, and the message goes on.
package links
