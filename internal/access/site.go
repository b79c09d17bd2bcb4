package access

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// SameSite refuses what a page of another site made a browser send: it says so itself,
// by Sec-Fetch-Site or by Origin. Programs send neither. It looks at reads, too: nobody
// else's page has a reason to ask.
func SameSite(r *http.Request) *Refusal {
	const detail = "a page of another site has sent this; open the relay's own"
	switch site := r.Header.Values("Sec-Fetch-Site"); {
	case len(site) == 0:
	case len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
	default:
		return refuse(http.StatusForbidden, "cross_site", detail)
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return nil
	}
	u, err := url.Parse(origins[0])
	if len(origins) > 1 || err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return refuse(http.StatusForbidden, "cross_site", detail)
	}
	return nil
}

// JSONBody refuses a body that is not called JSON: what a form of another page can send
// without being asked is never called so.
func JSONBody(r *http.Request) *Refusal {
	kinds := r.Header.Values("Content-Type")
	if len(kinds) == 1 {
		kind, params, err := mime.ParseMediaType(kinds[0])
		charset := params["charset"]
		if err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return refuse(http.StatusUnsupportedMediaType, "content_type", "write Content-Type: application/json")
}
