//go:build openssl

package dkimsign

// #cgo LDFLAGS: -lcrypto
// #include <openssl/err.h>
// #include <openssl/evp.h>
// #include <openssl/rsa.h>
// #include <openssl/x509.h>
//
// // All in one call: the error queue belongs to the thread. Returns 1, or 0
// // with the cause in why.
// static int postern_sign(EVP_PKEY *key, const unsigned char *digest, unsigned char *out, size_t *size, char *why, size_t room) {
//     EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
//     int ok = ctx != NULL
//         && EVP_PKEY_sign_init(ctx) > 0
//         && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0
//         && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) > 0
//         && EVP_PKEY_sign(ctx, out, size, digest, 32) > 0;
//     if (!ok) ERR_error_string_n(ERR_get_error(), why, room);
//     ERR_clear_error();
//     EVP_PKEY_CTX_free(ctx);
//     return ok;
// }
//
// static EVP_PKEY *postern_read(const unsigned char *der, long size) {
//     EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &der, size);
//     ERR_clear_error();
//     return key;
// }
import "C"

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// signRSA signs with the system's OpenSSL, which needs about a third of the time
// that Go's arithmetic takes. The signatures are the same octets.
func signRSA(key *rsa.PrivateKey) (func(digest []byte) ([]byte, error), error) {
	der := x509.MarshalPKCS1PrivateKey(key)
	defer clear(der)
	read := C.postern_read((*C.uchar)(unsafe.Pointer(&der[0])), C.long(len(der)))
	if read == nil {
		return nil, errors.New("OpenSSL does not take the RSA key")
	}
	k := &opensslKey{key: read, size: key.Size()}
	runtime.AddCleanup(k, func(p *C.EVP_PKEY) { C.EVP_PKEY_free(p) }, read)
	return k.sign, nil
}

// opensslKey frees OpenSSL's copy of the key when nothing uses it any more.
type opensslKey struct {
	key  *C.EVP_PKEY
	size int // of a signature, in octets
}

func (k *opensslKey) sign(digest []byte) ([]byte, error) {
	if len(digest) != 32 {
		return nil, fmt.Errorf("digest of %d octets is no SHA-256", len(digest))
	}
	out := make([]byte, k.size)
	size := C.size_t(len(out))
	var why [256]C.char
	ok := C.postern_sign(k.key, (*C.uchar)(unsafe.Pointer(&digest[0])), (*C.uchar)(unsafe.Pointer(&out[0])), &size, &why[0], C.size_t(len(why)))
	runtime.KeepAlive(k)
	if ok != 1 {
		return nil, fmt.Errorf("OpenSSL: %s", C.GoString(&why[0]))
	}
	return out[:size], nil
}
