package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"postern/internal/secret"
	"postern/internal/text"
)

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
// when the table knows these keys. Whichever way it comes, it is what
// secret.Text makes of it.
func (d *decoder) secret(table reflect.Value, fields []field, path string) {
	get := func(name string) (v reflect.Value, text string) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name && f.typ.Kind() == reflect.String })
		if i < 0 {
			return v, ""
		}
		v = table.FieldByIndex(fields[i].index)
		return v, v.String()
	}
	password, inline := get("password")
	_, file := get("password_file")
	_, env := get("password_env")
	before := len(d.problems)
	switch {
	case !password.IsValid():
	case inline != "" && file+env != "", file != "" && env != "":
		d.problem(join(path, "password"), "is given in more than one way; keep one of password, password_file, password_env")
	case d.beside == leftAlone && file+env != "":
	case env != "":
		at := join(path, "password_env")
		if text := d.getenv(env); text != "" {
			d.password(password, []byte(text), at, "the environment's "+env)
		} else {
			d.missing(at, fmt.Sprintf("the environment has no %s, or it is empty; set it for the relay", env))
		}
	case file != "":
		at := join(path, "password_file")
		if text, ok := d.secretFile(file, at); ok {
			d.password(password, text, at, "the file")
		}
	case inline != "":
		d.password(password, []byte(inline), join(path, "password"), "the text")
	}
	if file+env != "" && password.IsValid() && password.String() == "" || len(d.problems) > before { // that it is missing need not be said, too
		d.spoil(join(path, "password"))
	}
}

// password sets v to the password in text; what is wrong with it is said of
// what.
func (d *decoder) password(v reflect.Value, text []byte, path, what string) {
	s, err := secret.Text(text)
	if err != nil {
		d.problem(path, fmt.Sprintf("%s %v", what, err))
	}
	v.SetString(s)
}

// secretFile reads a file that nobody else may read.
func (d *decoder) secretFile(name, path string) (text []byte, ok bool) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.folder, name)
	}
	text, err := secret.ReadFile(name)
	switch {
	case errors.Is(err, secret.ErrOpen):
		d.unreadable(path, err, err.Error())
	case err != nil:
		d.unreadable(path, err, fmt.Sprintf("%v; name a file that the relay can read", err))
	}
	return text, err == nil
}

// readBounded reads a regular file or a pipe of at most max octets.
func readBounded(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(all)) > max {
		return nil, fmt.Errorf("%s is larger than %s", name, text.FormatSize(max))
	}
	return all, nil
}
