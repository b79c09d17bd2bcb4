package oauth

import (
	"fmt"
	"strings"
)

// Bearer is the initial response of OAUTHBEARER (RFC 7628 s. 3.1) for a host and
// its port.
func Bearer(user, host string, port uint16, token string) string {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) // RFC 5801 s. 4
	return fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", name, host, port, token)
}

// XOAUTH2 is the initial response of XOAUTH2, as Google and Microsoft describe it.
func XOAUTH2(user, token string) string {
	return fmt.Sprintf("user=%s\x01auth=Bearer %s\x01\x01", user, token)
}
