package main

import (
	"crypto/rsa"
	"testing"

	"postern/dkimsign"
	"postern/mail"
)

var envelope = mail.Envelope{
	From: mail.Address{Local: "a", Domain: domain},
	To:   []mail.Recipient{{Address: mail.Address{Local: "b", Domain: "receiver.example"}}},
}

func mustKey(t *testing.T, file string) *rsa.PrivateKey {
	t.Helper()
	key, err := dkimsign.ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}
