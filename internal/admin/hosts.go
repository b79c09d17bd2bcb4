package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// onlyKnownHosts answers 421 (RFC 9110 s. 15.5.20) to requests for a host that
// is none of names, localhost or an address. A page that a browser on this
// machine has open can point a name of its own at our address and then read the
// answers; it cannot do so with an address, nor with a name of ours.
func onlyKnownHosts(h http.Handler, names func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isKnownHost(r.Host, names()) {
			http.Error(w, "this name is not in [admin] hosts", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isKnownHost reports whether host, as a request has it, may be answered. A
// browser always sends one; a plain HTTP/1.0 probe has none.
func isKnownHost(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(host, name) })
}
