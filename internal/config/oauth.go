package config

import (
	"path/filepath"

	"postern/internal/secret"
)

// TokenFile is where the access tokens of an upstream with oauth are kept.
func (f *File) TokenFile(name string) string {
	return filepath.Join(f.StateDir, "oauth-"+name+".json")
}

// oauth reads the secrets of the upstreams with oauth.
func (x *crossCheck) oauth() {
	if x.d.beside == leftAlone {
		return
	}
	for _, name := range x.names["upstream"] {
		if o := x.Upstream[name].OAuth; o != nil {
			path := join(join("upstream", name), "oauth")
			o.Secrets(x.secretText(o.ClientSecretFile, join(path, "client_secret_file")), x.secretText(o.RefreshTokenFile, join(path, "refresh_token_file")))
		}
	}
}

// secretText is the secret in a file; "" where there is none.
func (x *crossCheck) secretText(file, path string) string {
	if file == "" {
		return ""
	}
	text, ok := x.d.secretFile(file, path)
	if !ok {
		return ""
	}
	s, err := secret.Text(text)
	if err != nil {
		x.d.problem(path, "the file "+err.Error())
	}
	return s
}
