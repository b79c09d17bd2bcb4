//go:build !cgo || !linux

package openssl

import (
	"crypto/rsa"
	"errors"
)

// Without cgo there is no library to call, so Open fails and the rest is never reached.
var errWithout = errors.New("this relay was built without cgo for Linux")

type (
	code struct{}
	key  struct{}
)

func open() (code, string, error) { return code{}, "", errWithout }

func (code) read(*rsa.PrivateKey) (key, error) { return key{}, errWithout }

func (code) sign(key, []byte, []byte) error { return errWithout }

func (*Key) freeWhenUnused() {}
