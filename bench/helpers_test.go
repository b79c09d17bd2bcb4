package main

import (
	"crypto/rsa"
	"runtime/debug"
	"slices"
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

// underRace: the relay is then built with the race detector, too, because most
// of it is already built that way.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
