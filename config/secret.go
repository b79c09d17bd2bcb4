package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// maxSecret is the size up to which a file with a password is read.
const maxSecret = 64 << 10

// absolute makes the path in v, or the paths, start at the file's folder.
func (d *decoder) absolute(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			d.absolute(v.Index(i))
		}
	case reflect.String:
		if s := v.String(); s != "" && !filepath.IsAbs(s) {
			v.SetString(filepath.Join(d.folder, s))
		}
	}
}

// secret fills the key password of a table from password_file or password_env
// when the table knows these keys.
func (d *decoder) secret(v reflect.Value, fields []field, path string) {
	get := func(name string) *reflect.Value {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name && f.typ.Kind() == reflect.String })
		if i < 0 {
			return nil
		}
		f := v.FieldByIndex(fields[i].index)
		return &f
	}
	password, file, env := get("password"), get("password_file"), get("password_env")
	if password == nil || file == nil || env == nil {
		return
	}
	given := 0
	for _, s := range []*reflect.Value{password, file, env} {
		if s.String() != "" {
			given++
		}
	}
	elsewhere := env.String() != "" || file.String() != ""
	switch {
	case given > 1:
		d.problem(join(path, "password"), "is given in more than one way; keep one of password, password_file, password_env")
	case d.beside == leftAlone:
	case env.String() != "":
		s := d.getenv(env.String())
		if s == "" {
			d.missing(join(path, "password_env"), fmt.Sprintf("the environment has no %s, or it is empty; set it for the relay", env))
		}
		password.SetString(s)
	case file.String() != "":
		password.SetString(d.secretFile(file.String(), join(path, "password_file")))
	}
	if elsewhere && password.String() == "" { // that it is missing need not be said, too
		d.bad[join(path, "password")] = true
	}
}

// secretFile reads a password; the line end behind it does not count.
func (d *decoder) secretFile(name, path string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.folder, name)
	}
	text, err := readBounded(name, maxSecret)
	if err != nil {
		d.unreadable(path, err, fmt.Sprintf("%v; name a file that the relay can read", err))
		return ""
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o007 != 0 {
		d.warn(path, fmt.Sprintf("every user of this machine can read the password; run: chmod o= %s", name))
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		d.problem(path, "the file is empty; write the password into it")
	}
	return string(text)
}

// readBounded reads a regular file or a pipe of at most max octets.
func readBounded(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, fmt.Errorf("%s is larger than %s", name, FormatSize(max))
	}
	return text, nil
}
