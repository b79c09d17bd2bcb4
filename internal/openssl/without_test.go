//go:build !cgo || !linux

package openssl

import "testing"

func TestNoLibrary(t *testing.T) {
	if l, err := Open(); l != nil || err == nil {
		t.Errorf("a library without cgo: %v, %v", l, err)
	}
}
