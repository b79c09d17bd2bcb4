// Package parts finds out what a message holds: the names and kinds of its
// attachments, whether archives and documents are encrypted, and its text.
//
// A message is what its reader makes of it, and readers differ. RFC 2045 and 2046
// say how parts are written; Outlook, Gmail and Thunderbird each mend in their own
// way what was not written so. A check that follows one grammar is evaded by the
// first message that another grammar reads differently. So Walk follows all of
// them at once: it takes every name that any reader could show, begins a part at
// every line that any reader could take for a boundary, and decodes a part by every
// encoding that it may have. Where even that does not cover what readers may do,
// the message is ambiguous, and whoever asks decides what that means.
//
// Walk reads the message once, from its start, line by line. It keeps a window of
// each part that is open and nothing else, so that neither time nor memory grows
// faster than the message: at most maxParts parts, maxDepth deep, maxHeader octets
// of header in a part, maxWork octets of names in all. Beyond any of these the
// message is ambiguous, too.
//
// Archives are not unpacked. The directories of ZIP, RAR and 7z are read as they
// pass; what lies within a packed archive in another archive is for a scanner.
package parts
