//go:build cgo && linux

package openssl

// #cgo LDFLAGS: -ldl
// #cgo noescape postern_sign
// #cgo nocallback postern_sign
//
// #include <dlfcn.h>
// #include <stddef.h>
// #include <stdlib.h>
//
// // What is called of libcrypto.so.3, as its manual pages declare it. The types are
// // opaque there, too.
// typedef struct {
//     void *(*read)(int type, void **key, const unsigned char **der, long size);
//     void (*free_key)(void *key);
//     void *(*new_context)(void *key, void *engine);
//     void (*free_context)(void *ctx);
//     int (*init)(void *ctx);
//     int (*set_padding)(void *ctx, int padding);
//     int (*set_digest)(void *ctx, const void *digest);
//     const void *(*sha256)(void);
//     int (*sign)(void *ctx, unsigned char *out, size_t *size, const unsigned char *digest, size_t length);
//     unsigned long (*error)(void);
//     void (*error_text)(unsigned long code, char *text, size_t room);
//     void (*clear_errors)(void);
//     const char *(*version)(int what);
// } postern_code;
//
// // The name of the first function that is missing, or NULL.
// static const char *postern_find(void *library, postern_code *c) {
//     const struct { const char *name; void *place; } all[] = {
//         {"d2i_PrivateKey", &c->read}, {"EVP_PKEY_free", &c->free_key},
//         {"EVP_PKEY_CTX_new", &c->new_context}, {"EVP_PKEY_CTX_free", &c->free_context},
//         {"EVP_PKEY_sign_init", &c->init}, {"EVP_PKEY_CTX_set_rsa_padding", &c->set_padding},
//         {"EVP_PKEY_CTX_set_signature_md", &c->set_digest}, {"EVP_sha256", &c->sha256},
//         {"EVP_PKEY_sign", &c->sign}, {"ERR_get_error", &c->error},
//         {"ERR_error_string_n", &c->error_text}, {"ERR_clear_error", &c->clear_errors},
//         {"OpenSSL_version", &c->version},
//     };
//     for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
//         void *found = dlsym(library, all[i].name);
//         if (found == NULL) return all[i].name;
//         *(void **)all[i].place = found;
//     }
//     return NULL;
// }
//
// static const char *postern_version(const postern_code *c) { return c->version(0); }
//
// static void *postern_read(const postern_code *c, const unsigned char *der, long size) {
//     const int rsa = 6; // EVP_PKEY_RSA
//     void *key = c->read(rsa, NULL, &der, size);
//     c->clear_errors();
//     return key;
// }
//
// static void postern_free(const postern_code *c, void *key) { c->free_key(key); }
//
// // 0, or OpenSSL's code of the error. All is one call, as the queue of errors belongs
// // to the thread.
// static unsigned long postern_sign(const postern_code *c, void *key, const unsigned char *digest, unsigned char *out, size_t room) {
//     const int pkcs1 = 1; // RSA_PKCS1_PADDING
//     size_t size = room;
//     unsigned long code = 0;
//     void *ctx = c->new_context(key, NULL);
//     int ok = ctx != NULL && c->init(ctx) > 0 && c->set_padding(ctx, pkcs1) > 0 && c->set_digest(ctx, c->sha256()) > 0
//         && c->sign(ctx, out, &size, digest, 32) > 0 && size == room;
//     if (!ok && (code = c->error()) == 0) code = 1;
//     c->clear_errors();
//     c->free_context(ctx);
//     return code;
// }
//
// static void postern_error(const postern_code *c, unsigned long code, char *text, size_t room) { c->error_text(code, text, room); }
import "C"

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

const file = "libcrypto.so.3"

type (
	code struct{ functions *C.postern_code }
	key  = unsafe.Pointer // EVP_PKEY
)

// open loads the library, which stays loaded as long as the process lives.
func open() (code, string, error) {
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	library := C.dlopen(name, C.RTLD_NOW|C.RTLD_LOCAL)
	if library == nil {
		return code{}, "", fmt.Errorf("the system has no %s", file)
	}
	functions := new(C.postern_code)
	if missing := C.postern_find(library, functions); missing != nil {
		return code{}, "", fmt.Errorf("%s has no %s", file, C.GoString(missing))
	}
	c := code{functions: functions}
	return c, C.GoString(C.postern_version(functions)), nil
}

func (c code) read(private *rsa.PrivateKey) (key, error) {
	der := x509.MarshalPKCS1PrivateKey(private)
	defer clear(der)
	k := C.postern_read(c.functions, (*C.uchar)(unsafe.Pointer(&der[0])), C.long(len(der)))
	if k == nil {
		return nil, errors.New("OpenSSL does not take the RSA key")
	}
	return k, nil
}

func (k *Key) freeWhenUnused() {
	functions := k.library.code.functions
	runtime.AddCleanup(k, func(p key) { C.postern_free(functions, p) }, k.key)
}

func (c code) sign(k key, digest, out []byte) error {
	failed := C.postern_sign(c.functions, k, (*C.uchar)(unsafe.Pointer(&digest[0])), (*C.uchar)(unsafe.Pointer(&out[0])), C.size_t(len(out)))
	if failed == 0 {
		return nil
	}
	var text [256]C.char
	C.postern_error(c.functions, failed, &text[0], C.size_t(len(text)))
	return fmt.Errorf("OpenSSL: %s", C.GoString(&text[0]))
}
